#include "publish/publication.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "io/temporary_name.hpp"

namespace vmad::publish {
namespace {

using nlohmann::json;
using Phase = Publication::Phase;

constexpr std::string_view kPrefix = io::kReservedPrefix;
constexpr std::string_view kTemporarySuffix = ".tmp";
constexpr std::string_view kOldSuffix = ".old";
constexpr std::size_t kDigits = 16;
constexpr std::size_t kMaxNameBytes = 255;  // NAME_MAX

constexpr std::array<std::pair<Phase, std::string_view>, 4> kPhases{{
    {Phase::preparing, "preparing"},
    {Phase::publishing, "publishing"},
    {Phase::renaming, "renaming"},
    {Phase::lingering, "lingering"},
}};

[[noreturn]] void refuse(const std::string& field, std::string_view why) {
    throw base::Error(fmt::format("publication record: {} {}", field, why));
}

/// `in` must be an object with just these fields.
void check_fields(const json& in, const std::string& what, std::initializer_list<std::string_view> fields) {
    if (!in.is_object()) refuse(what, "is not an object");
    for (const auto field : fields)
        if (!in.contains(field)) refuse(std::string(field), "is missing");
    for (const auto& [key, value] : in.items())
        if (std::find(fields.begin(), fields.end(), key) == fields.end()) refuse(key, "is not known");
}

std::string text(const json& in, const std::string& field) {
    if (!in[field].is_string()) refuse(field, "is not a text");
    return in[field].get<std::string>();
}

std::uint64_t number(const json& in, const std::string& field) {
    const json& value = in[field];
    const bool fits =
        value.is_number_unsigned() || (value.is_number_integer() && value.get<std::int64_t>() >= 0);
    if (!fits) refuse(field, "is not a number from 0");
    return value.get<std::uint64_t>();
}

std::int64_t time(const json& in, const std::string& field) {
    const json& value = in[field];
    const bool fits =
        value.is_number_integer() && (!value.is_number_unsigned() || value.get<std::uint64_t>() <= INT64_MAX);
    if (!fits) refuse(field, "is not a time in nanoseconds");
    return value.get<std::int64_t>();
}

/// The digits of a name of ours with this suffix.
std::string_view digits_of(const std::string& name, const std::string& field, std::string_view suffix) {
    const auto is_hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
    if (name.size() == kPrefix.size() + kDigits + suffix.size() && name.starts_with(kPrefix) &&
        name.ends_with(suffix)) {
        const auto digits = std::string_view(name).substr(kPrefix.size(), kDigits);
        if (std::all_of(digits.begin(), digits.end(), is_hex)) return digits;
    }
    refuse(field, fmt::format("is not of the form \"{}<{} hex digits>{}\"", kPrefix, kDigits, suffix));
}

void check_name(const std::string& name) {
    const bool is_entry = !name.empty() && name.size() <= kMaxNameBytes && name != "." && name != ".." &&
                          name.find('/') == std::string::npos && name.find('\0') == std::string::npos;
    if (!is_entry) refuse("name", "is not the name of a file in a directory");
    if (is_reserved_name(name)) refuse("name", "is that of a temporary file");
}

Phase phase_from(const std::string& name) {
    for (const auto& [phase, known] : kPhases)
        if (name == known) return phase;
    refuse("phase", "is none of preparing, publishing, renaming, lingering");
}

json to_json(const FileMark& mark) {
    return {{"inode", mark.inode}, {"size", mark.size_bytes}, {"modified", mark.modified_ns}};
}

FileMark mark_from(const json& in) { return {number(in, "inode"), number(in, "size"), time(in, "modified")}; }

}  // namespace

Publication new_publication(const std::string& name, const FileIdentity& original) {
    const auto stem = fmt::format("{}{}", io::kReservedPrefix, io::random_hex());
    Publication record;
    record.name = name;
    record.temporary = stem + std::string(kTemporarySuffix);
    record.old = stem + std::string(kOldSuffix);
    record.original = original;
    return record;
}

bool is_reserved_name(const std::string& name) noexcept { return name.starts_with(kPrefix); }

void to_json(json& out, const Publication& record) {
    const auto phase = std::find_if(kPhases.begin(), kPhases.end(),
                                    [&](const auto& known) { return known.first == record.phase; });
    auto original = to_json(record.original.mark);
    original["device"] = record.original.device;
    original["changed"] = record.original.changed_ns;
    out = {{"name", record.name},
           {"temporary", record.temporary},
           {"old", record.old},
           {"original", std::move(original)},
           {"replacement", to_json(record.replacement)},
           {"phase", phase->second}};
}

void from_json(const json& in, Publication& record) {
    check_fields(in, "the record", {"name", "temporary", "old", "original", "replacement", "phase"});
    Publication result;
    result.name = text(in, "name");
    check_name(result.name);
    result.temporary = text(in, "temporary");
    result.old = text(in, "old");
    if (digits_of(result.temporary, "temporary", kTemporarySuffix) !=
        digits_of(result.old, "old", kOldSuffix))
        refuse("old", "has other digits than temporary");
    result.phase = phase_from(text(in, "phase"));

    const json& original = in["original"];
    check_fields(original, "original", {"device", "inode", "size", "modified", "changed"});
    result.original = {number(original, "device"), mark_from(original), time(original, "changed")};
    if (result.original.mark.inode == 0) refuse("original", "has no inode");

    const json& replacement = in["replacement"];
    check_fields(replacement, "replacement", {"inode", "size", "modified"});
    result.replacement = mark_from(replacement);
    if (result.phase != Phase::preparing && result.replacement.inode == 0)
        refuse("replacement", "has no inode");
    if (result.replacement.inode == result.original.mark.inode) refuse("replacement", "is the original");
    record = std::move(result);
}

}  // namespace vmad::publish
