#include "mount/file_tree.hpp"

#include <limits.h>

#include <algorithm>

#include <fmt/format.h>

#include "base/text.hpp"

namespace vmad::mount {
namespace {

/// Cut off where no character is torn apart.
std::string shortened(const std::string& name, std::size_t limit) {
    if (name.size() <= limit) return name;
    auto end = limit;
    while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xC0U) == 0x80) --end;
    return name.substr(0, end);
}

}  // namespace

FileRange OpenFile::range_at(std::uint64_t) { return {size_bytes(), true}; }

std::string file_name_for(std::string_view text, std::vector<std::string>& taken) {
    std::string name;
    for (const char character : base::printable(text)) {
        if (character == '/')
            name += "\\x2f";
        else
            name += character;
    }
    if (name.empty() || name == "." || name == "..") name = "_" + name;
    auto result = shortened(name, NAME_MAX);
    for (unsigned number = 2; std::find(taken.begin(), taken.end(), result) != taken.end(); ++number) {
        const auto suffix = fmt::format("~{}", number);
        result = shortened(name, NAME_MAX - suffix.size()) + suffix;
    }
    return taken.emplace_back(std::move(result));
}

}  // namespace vmad::mount
