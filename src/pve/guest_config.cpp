#include "pve/guest_config.hpp"

#include <algorithm>

namespace vmad::pve {
namespace {

constexpr std::string_view kKey = "name:";
constexpr std::string_view kBlanks = " \t\r";
/// A name is that of a host, as the DNS has it.
constexpr std::size_t kMostBytes = 253;
constexpr std::string_view kMap = "#qmdump#map:";

/// Takes the first line off.
std::string_view take_line(std::string_view& text) {
    const auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    return line;
}

}  // namespace

std::string guest_name(std::string_view config) {
    while (!config.empty()) {
        auto line = take_line(config);
        // What follows is of a snapshot, or pending.
        if (line.starts_with('[')) break;
        if (!line.starts_with(kKey)) continue;
        line.remove_prefix(kKey.size());
        line.remove_prefix(std::min(line.find_first_not_of(kBlanks), line.size()));
        line = line.substr(0, line.find_last_not_of(kBlanks) + 1);
        return std::string(line.substr(0, kMostBytes));
    }
    return {};
}

std::vector<std::string> mapped_disks(std::string_view config) {
    std::vector<std::string> disks;
    while (!config.empty()) {
        auto line = take_line(config);
        if (!line.starts_with(kMap)) continue;
        line.remove_prefix(kMap.size());
        const auto begin = line.find(':');
        const auto end = line.find(':', begin + 1);
        if (begin != line.npos && end != line.npos)
            disks.emplace_back(line.substr(begin + 1, end - begin - 1));
    }
    return disks;
}

}  // namespace vmad::pve
