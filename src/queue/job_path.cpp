#include "queue/job_path.hpp"

#include <climits>
#include <nlohmann/json.hpp>

namespace vmad::queue {
namespace {

bool is_utf8(const std::string& text) {
    try {
        (void)nlohmann::json(text).dump();
        return true;
    } catch (const nlohmann::json::type_error&) {
        return false;
    }
}

}  // namespace

std::optional<std::string> fault_of_path(const std::string& path) {
    if (!path.starts_with('/')) return "not absolute";
    if (path.find('\0') != path.npos) return "cut short by a NUL";
    if (path.size() >= PATH_MAX) return "too long";
    if (!is_utf8(path)) return "not UTF-8";
    return std::nullopt;
}

}  // namespace vmad::queue
