#include "base/json_fields.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace vmad::base {

using nlohmann::json;

bool nests_too_deep(std::string_view text) noexcept {
    int depth = 0;
    bool in_string = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (in_string) {
            if (c == '\\') ++i;
            if (c == '"') in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == ']' || c == '}') {
            --depth;
        } else if ((c == '[' || c == '{') && ++depth > kMaxJsonDepth) {
            return true;
        }
    }
    return false;
}

FieldError::FieldError(std::string_view object, std::string_view field, std::string_view problem)
    : Error(fmt::format("{}: {} {}", object, field, problem)), field_(field) {}

Fields::Fields(const json& in, std::string_view object) : in_(in), object_(object) {
    if (!in.is_object()) throw base::Error(fmt::format("{} is not an object", object));
}

std::uint64_t Fields::get_unsigned(const char* field) {
    const json* value = look(field);
    if (value == nullptr) refuse(field, "is missing");
    const bool fits =
        value->is_number_unsigned() || (value->is_number_integer() && value->get<std::int64_t>() >= 0);
    if (!fits) refuse(field, "is not an integer from 0");
    return value->get<std::uint64_t>();
}

void Fields::refuse_others() const {
    for (const auto& [name, value] : in_.items())
        if (std::find(asked_.begin(), asked_.end(), name) == asked_.end()) refuse(name, "is unknown");
}

void Fields::refuse(std::string_view field, std::string_view problem) const {
    throw FieldError(object_, field, problem);
}

const json* Fields::look(const char* field) {
    asked_.emplace_back(field);
    const auto found = in_.find(field);
    return found == in_.end() || found->is_null() ? nullptr : &*found;
}

std::size_t Fields::index_of(const char* field, const std::string& text, const char* const* names,
                             std::size_t count) const {
    const auto found = static_cast<std::size_t>(std::find(names, names + count, text) - names);
    if (found == count) refuse(field, fmt::format("'{}' is unknown", text));
    return found;
}

}  // namespace vmad::base
