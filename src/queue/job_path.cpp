#include "queue/job_path.hpp"

#include <algorithm>

#include <climits>

#include "base/json_fields.hpp"

namespace vmad::queue {

std::string normal_path(const std::string& path) {
    if (!path.starts_with('/')) return path;
    std::string result;
    for (std::size_t at = 0; at < path.size();) {
        const auto end = std::min(path.find('/', at + 1), path.size());
        const auto component = path.substr(at, end - at);  // with its slash
        if (component != "/" && component != "/.") result += component;
        at = end;
    }
    return result.empty() ? "/" : result;
}

std::optional<std::string> fault_of_path(const std::string& path) {
    if (!path.starts_with('/')) return "not absolute";
    if (path.find('\0') != path.npos) return "cut short by a NUL";
    if (path.size() >= PATH_MAX) return "too long";
    if (!base::is_utf8(path)) return "not UTF-8";
    if ((path + '/').find("/../") != path.npos) return "not free of \"..\"";
    return std::nullopt;
}

}  // namespace vmad::queue
