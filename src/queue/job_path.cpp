#include "queue/job_path.hpp"

#include <climits>

#include "base/path.hpp"
#include "base/text.hpp"

namespace vmad::queue {

std::optional<std::string> fault_of_path(const std::string& path) {
    if (!path.starts_with('/')) return "not absolute";
    if (path.find('\0') != path.npos) return "cut short by a NUL";
    if (path.size() >= PATH_MAX) return "too long";
    if (!base::is_utf8(path)) return "not UTF-8";
    if (base::has_component(path, "..")) return "not free of \"..\"";
    return std::nullopt;
}

}  // namespace vmad::queue
