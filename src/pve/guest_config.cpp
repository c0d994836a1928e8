#include "pve/guest_config.hpp"

#include <algorithm>

namespace vmad::pve {
namespace {

constexpr std::string_view kKey = "name:";
constexpr std::string_view kBlanks = " \t\r";
/// A name is that of a host, as the DNS has it.
constexpr std::size_t kMostBytes = 253;

}  // namespace

std::string guest_name(std::string_view config) {
    while (!config.empty()) {
        auto line = config.substr(0, config.find('\n'));
        config.remove_prefix(std::min(line.size() + 1, config.size()));
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

}  // namespace vmad::pve
