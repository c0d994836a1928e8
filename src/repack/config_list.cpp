#include "repack/config_list.hpp"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.hpp"

namespace vmad::repack {
namespace {

using Configs = std::vector<vma::Config>;

/// All of this name from there on: nothing keeps an archive from having several.
auto remove(Configs& configs, Configs::iterator from, const std::string& name) {
    const auto end =
        std::remove_if(from, configs.end(), [&](const auto& config) { return config.name == name; });
    const auto count = configs.end() - end;
    configs.erase(end, configs.end());
    return count;
}

void set(Configs& configs, const vma::Config& config) {
    const auto found = std::find_if(configs.begin(), configs.end(),
                                    [&](const auto& known) { return known.name == config.name; });
    if (found == configs.end()) return configs.push_back(config);
    found->data = config.data;
    remove(configs, found + 1, config.name);
}

void check_count(const Configs& configs) {
    if (configs.size() > vma::kConfigSlots)
        throw base::UsageError(fmt::format("an archive holds at most {} configs", vma::kConfigSlots));
}

}  // namespace

bool is_file_name(const std::string& name) {
    constexpr std::size_t kLongest = 255;  // NAME_MAX
    return !name.empty() && name.size() <= kLongest && name != "." && name != ".." &&
           name.find('/') == name.npos && name.find('\0') == name.npos;
}

std::string no_config(const Configs& configs, const std::string& name) {
    std::vector<std::string> known;
    for (const auto& config : configs) known.push_back(config.name);
    return fmt::format("the archive has no config {}; it has {}", name,
                       known.empty() ? "none" : fmt::format("{}", fmt::join(known, ", ")));
}

void check_configs(const Configs& configs) {
    check_count(configs);
    std::set<std::string> seen;
    for (const auto& config : configs) {
        if (!is_file_name(config.name))
            throw base::UsageError(
                fmt::format("\"{}\" cannot name a config: it is not a valid file name", config.name));
        if (!seen.insert(config.name).second)
            throw base::UsageError(fmt::format("two configs have the name {}", config.name));
        if (config.data.size() > vma::kMaxBlobSize)
            throw base::UsageError(fmt::format("config {} has {} bytes; an archive holds at most {}",
                                               config.name, config.data.size(), vma::kMaxBlobSize));
    }
}

Configs edited(Configs configs, const ConfigEdits& edits) {
    check_configs(edits.set);
    for (const auto& name : edits.remove)
        if (remove(configs, configs.begin(), name) == 0) throw base::UsageError(no_config(configs, name));
    for (const auto& config : edits.set) {
        if (std::find(edits.remove.begin(), edits.remove.end(), config.name) != edits.remove.end())
            throw base::UsageError(fmt::format("config {} is to be both set and removed", config.name));
        set(configs, config);
    }
    check_count(configs);
    return configs;
}

}  // namespace vmad::repack
