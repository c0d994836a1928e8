// Strict reading of the fields of a JSON object from a socket, a pipe or the spool.
//
// A field that is null counts as absent. No thread rule.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/error.hpp"

namespace vmad::base {

/// Objects and arrays of what others have written may be nested this deep; the outermost is 1. The library
/// writes, compares and copies nested ones by recursion.
inline constexpr int kMaxJsonDepth = 32;
/// Exact for what is JSON; what is not may count as deeper than it is.
[[nodiscard]] bool nests_too_deep(std::string_view text) noexcept;

/// A field is missing, unknown, of a wrong type or out of range. what() is "OBJECT: FIELD PROBLEM".
class FieldError : public base::Error {
  public:
    FieldError(std::string_view object, std::string_view field, std::string_view problem);
    [[nodiscard]] const std::string& field() const noexcept { return field_; }

  private:
    std::string field_;
};

/// Borrows the object, and remembers which fields it was asked for.
class Fields {
  public:
    /// `object` names in messages what is read. Throws base::Error when `in` is not an object.
    Fields(const nlohmann::json& in, std::string_view object);

    /// The field as a bool, integer, string, JSON object, vector of those, or a type with its own from_json.
    /// Integers are at most 2^63-1 also when unsigned, as in Varlink. Throws FieldError.
    template <typename T>
    [[nodiscard]] T get(const char* field);
    /// The same; nothing when it is absent.
    template <typename T>
    [[nodiscard]] std::optional<T> find(const char* field);
    /// An integer from 0 to 2^64-1: for numbers of the kernel's that never pass through Varlink.
    [[nodiscard]] std::uint64_t get_unsigned(const char* field);
    /// The index in `names` of the text of the field.
    template <std::size_t N>
    [[nodiscard]] std::size_t choose(const char* field, const std::array<const char*, N>& names) {
        return index_of(field, get<std::string>(field), names.data(), N);
    }
    /// The same; nothing when it is absent.
    template <std::size_t N>
    [[nodiscard]] std::optional<std::size_t> find_choice(const char* field,
                                                         const std::array<const char*, N>& names) {
        const auto text = find<std::string>(field);
        if (!text) return std::nullopt;
        return index_of(field, *text, names.data(), N);
    }
    /// The same for an array of texts; empty when it is absent.
    template <std::size_t N>
    [[nodiscard]] std::vector<std::size_t> choose_many(const char* field,
                                                       const std::array<const char*, N>& names) {
        std::vector<std::size_t> chosen;
        for (const auto& text : find<std::vector<std::string>>(field).value_or(std::vector<std::string>()))
            chosen.push_back(index_of(field, text, names.data(), N));
        return chosen;
    }

    /// Throws FieldError for a field that nobody asked for.
    void refuse_others() const;
    [[noreturn]] void refuse(std::string_view field, std::string_view problem) const;

  private:
    [[nodiscard]] const nlohmann::json* look(const char* field);
    [[nodiscard]] std::size_t index_of(const char* field, const std::string& text, const char* const* names,
                                       std::size_t count) const;
    template <typename T>
    [[nodiscard]] T convert(const char* field, const nlohmann::json& value) const;

    const nlohmann::json& in_;
    std::string object_;
    std::vector<std::string_view> asked_;
};

template <typename T>
inline constexpr bool kIsVector = false;
template <typename T>
inline constexpr bool kIsVector<std::vector<T>> = true;

template <typename T>
T Fields::convert(const char* field, const nlohmann::json& value) const {
    if constexpr (std::is_same_v<T, bool>) {
        if (!value.is_boolean()) refuse(field, "is not a boolean");
        return value.get<bool>();
    } else if constexpr (std::is_integral_v<T>) {
        if (!value.is_number_integer()) refuse(field, "is not an integer");
        // The library keeps a number above 2^63-1 as unsigned, all others can be had as signed.
        constexpr auto kHighest = std::numeric_limits<std::int64_t>::max();
        if (value.is_number_unsigned() && value.get<std::uint64_t>() > kHighest)
            refuse(field, "is out of range");
        const auto number = value.get<std::int64_t>();
        if (!std::in_range<T>(number)) refuse(field, "is out of range");
        return static_cast<T>(number);
    } else if constexpr (std::is_same_v<T, std::string>) {
        if (!value.is_string()) refuse(field, "is not a string");
        return value.get<std::string>();
    } else if constexpr (std::is_same_v<T, nlohmann::json>) {
        if (!value.is_object()) refuse(field, "is not an object");
        return value;
    } else if constexpr (kIsVector<T>) {
        if (!value.is_array()) refuse(field, "is not an array");
        T items;
        for (const nlohmann::json& item : value)
            items.push_back(convert<typename T::value_type>(field, item));
        return items;
    } else {
        return value.get<T>();
    }
}

template <typename T>
T Fields::get(const char* field) {
    const nlohmann::json* value = look(field);
    if (value == nullptr) refuse(field, "is missing");
    return convert<T>(field, *value);
}

template <typename T>
std::optional<T> Fields::find(const char* field) {
    const nlohmann::json* value = look(field);
    if (value == nullptr) return std::nullopt;
    return convert<T>(field, *value);
}

/// Writes an optional field, or nothing.
template <typename T>
void put(nlohmann::json& out, const char* field, const std::optional<T>& value) {
    if (value) out[field] = *value;
}

}  // namespace vmad::base
