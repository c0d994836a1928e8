#include "pve/backup_jobs.hpp"

#include <utility>

#include <fmt/format.h>

#include "pve/section_config.hpp"

namespace vmad::pve {
namespace {

std::string wrong_value(const Section& job, const Property& property) {
    if (job.type != "vzdump") return {};
    if (property.key == "script" && property.value.empty()) return "it has no value";
    const bool is_flag = property.key == "enabled" && !property.value.empty();
    return is_flag && !parse_boolean(property.value)
               ? fmt::format("\"{}\" is neither 1 nor 0", property.value)
               : std::string();
}

bool runs_on(const Section& job, std::string_view node) {
    const auto* enabled = job.find("enabled");
    if (enabled != nullptr && !parse_boolean(enabled->value).value_or(true)) return false;
    const auto* only = job.find("node");
    return only == nullptr || only->value == node;
}

}  // namespace

BackupJobs backup_jobs_with_script(std::string_view text, const std::string& path, std::string_view node) {
    auto [sections, warnings] = parse_sections(text, path, wrong_value);
    BackupJobs result{.jobs = {}, .warnings = std::move(warnings)};
    for (const auto& section : sections) {
        const auto* script = section.find("script");
        if (section.type != "vzdump" || script == nullptr) continue;
        result.jobs.push_back({section.id, script->value, runs_on(section, node)});
    }
    return result;
}

}  // namespace vmad::pve
