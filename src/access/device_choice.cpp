#include "access/device_choice.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.hpp"

namespace vmad::access {
namespace {

bool means(const std::string& name, const vma::Device& device) {
    return device.name == name || short_name(device.name) == name;
}

std::string names_of(const vma::Header& header) {
    std::vector<std::string> names;
    for (const auto& device : header.devices) names.push_back(device.name);
    return names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

std::string_view short_name(std::string_view device) noexcept {
    constexpr std::string_view kPrefix = "drive-";
    return device.starts_with(kPrefix) ? device.substr(kPrefix.size()) : device;
}

std::vector<vma::Device> chosen_devices(const vma::Header& header, const std::vector<std::string>& names) {
    for (const auto& name : names) (void)chosen_device(header, name);
    std::vector<vma::Device> chosen;
    for (const auto& device : header.devices)
        if (std::any_of(names.begin(), names.end(), [&](const auto& name) { return means(name, device); }))
            chosen.push_back(device);
    return chosen;
}

const vma::Device& chosen_device(const vma::Header& header, const std::string& name) {
    if (name.empty() && header.devices.size() == 1) return header.devices[0];
    for (const auto& device : header.devices)
        if (!name.empty() && means(name, device)) return device;
    if (name.empty() && !header.devices.empty())
        throw base::UsageError("the archive has several devices; name one of " + names_of(header));
    throw base::UsageError(fmt::format("the archive has no device{}{}; it has {}", name.empty() ? "" : " ",
                                       name, names_of(header)));
}

}  // namespace vmad::access
