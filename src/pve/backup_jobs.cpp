#include "pve/backup_jobs.hpp"

#include "pve/section_config.hpp"

namespace vmad::pve {
namespace {

bool runs_on(const Section& job, std::string_view node) {
    // Proxmox drops a value that makes no sense, and a job is enabled where nothing says otherwise.
    const auto* enabled = job.find("enabled");
    if (enabled != nullptr && !parse_boolean(enabled->value).value_or(true)) return false;
    const auto* only = job.find("node");
    return only == nullptr || only->value == node;
}

}  // namespace

std::vector<BackupJob> backup_jobs_with_script(std::string_view text, const std::string& path,
                                               std::string_view node) {
    std::vector<BackupJob> jobs;
    for (const auto& section : parse_sections(text, path)) {
        const auto* script = section.find("script");
        if (section.type != "vzdump" || script == nullptr) continue;
        jobs.push_back({section.id, script->value, runs_on(section, node)});
    }
    return jobs;
}

}  // namespace vmad::pve
