#include "base/path.hpp"

#include <algorithm>
#include <cstdlib>

namespace vmad::base {
namespace {

/// Calls `take` with every component, also with empty ones and ".", until it returns false.
template <typename Take>
void split(std::string_view path, Take take) {
    for (std::size_t at = 0; at <= path.size();) {
        const auto end = std::min(path.find('/', at), path.size());
        if (!take(path.substr(at, end - at))) return;
        at = end + 1;
    }
}

}  // namespace

std::vector<std::string> path_components(std::string_view path) {
    std::vector<std::string> components;
    split(path, [&](std::string_view component) {
        if (!component.empty() && component != ".") components.emplace_back(component);
        return true;
    });
    return components;
}

bool has_component(std::string_view path, std::string_view name) noexcept {
    bool found = false;
    split(path, [&](std::string_view component) { return !(found = component == name); });
    return found;
}

std::string normal_path(std::string_view path) {
    if (!path.starts_with('/')) return std::string(path);
    std::string result;
    for (const auto& component : path_components(path)) result.append("/").append(component);
    return result.empty() ? "/" : result;
}

bool is_below(std::string_view path, std::string_view directory) {
    if (!path.starts_with('/') || !directory.starts_with('/')) return false;
    const auto inner = path_components(path);
    const auto outer = path_components(directory);
    return outer.size() < inner.size() && std::equal(outer.begin(), outer.end(), inner.begin());
}

std::string_view file_name(std::string_view path) noexcept { return path.substr(path.rfind('/') + 1); }

std::string system_path(std::string_view path) {
    const char* root = std::getenv("VMAD_ROOT");
    return (root != nullptr ? root : "") + std::string(path);
}

}  // namespace vmad::base
