#include "publish/recovery_record.hpp"

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/json_fields.hpp"
#include "io/temporary_name.hpp"

namespace vmad::publish {
namespace {

using base::Fields;
using nlohmann::json;
using Phase = RecoveryRecord::Phase;

constexpr char kObject[] = "recovery record";
constexpr std::string_view kTemporarySuffix = ".tmp";
constexpr std::string_view kOldSuffix = ".old";
constexpr std::size_t kMaxNameBytes = 255;  // NAME_MAX

/// In the order of Phase.
constexpr std::array<const char*, 4> kPhaseNames{"preparing", "publishing", "renaming", "grace_period"};

/// The digits of a name of ours with this suffix.
std::string_view digits_of(const Fields& fields, const char* field, std::string_view name,
                           std::string_view suffix) {
    const auto digits = io::random_part(name, io::kReservedPrefix, suffix);
    if (digits.empty())
        fields.refuse(field, fmt::format("is not of the form \"{}<{} hex digits>{}\"", io::kReservedPrefix,
                                         io::kRandomDigits, suffix));
    return digits;
}

void check_name(const Fields& fields, const std::string& name) {
    const bool is_entry = !name.empty() && name.size() <= kMaxNameBytes && name != "." && name != ".." &&
                          name.find('/') == std::string::npos && name.find('\0') == std::string::npos;
    if (!is_entry) fields.refuse("name", "is not the name of a file in a directory");
    if (io::is_reserved_name(name)) fields.refuse("name", "is that of a temporary file");
}

json to_json(const FileMark& mark) {
    return {{"inode", mark.inode},
            {"size", mark.size_bytes},
            {"modified", mark.modified_ns},
            {"content", mark.content}};
}

FileMark mark_from(Fields& fields) {
    return {.inode = fields.get_unsigned("inode"),
            .size_bytes = fields.get_unsigned("size"),
            .modified_ns = fields.get<std::int64_t>("modified"),
            .content = fields.get_unsigned("content")};
}

FileIdentity identity_from(const json& in) {
    Fields fields(in, "recovery record: original");
    FileIdentity identity{.device = fields.get_unsigned("device"),
                          .mark = mark_from(fields),
                          .changed_ns = fields.get<std::int64_t>("changed")};
    fields.refuse_others();
    return identity;
}

FileAccess access_from(const json& in) {
    Fields fields(in, "recovery record: access");
    const FileAccess access{.mode = fields.get_unsigned("mode"),
                            .owner = fields.get_unsigned("owner"),
                            .group = fields.get_unsigned("group")};
    fields.refuse_others();
    return access;
}

FileMark replacement_from(const json& in) {
    Fields fields(in, "recovery record: replacement");
    auto mark = mark_from(fields);
    fields.refuse_others();
    return mark;
}

/// The marks tell both files by the same, and two files.
void check_marks(const Fields& fields, const RecoveryRecord& record) {
    const auto& original = record.original.mark;
    const auto& replacement = record.replacement;
    if ((original.inode == 0) == (original.content == 0))
        fields.refuse("original", "is not told either by inode or by content");
    const bool by_inode = record.marked_by() == MarkBy::inode;
    const auto told = by_inode ? replacement.inode : replacement.content;
    if ((by_inode ? replacement.content : replacement.inode) != 0)
        fields.refuse("replacement", "is not told by the same as the original");
    if (told == 0 && record.phase != Phase::preparing)
        fields.refuse("replacement", by_inode ? "has no inode" : "has no content");
    if (by_inode ? told == original.inode : replacement == original)
        fields.refuse("replacement", "is the original");
}

}  // namespace

RecoveryRecord new_recovery_record(const std::string& name, const FileIdentity& original) {
    const auto stem = fmt::format("{}{}", io::kReservedPrefix, io::random_hex());
    RecoveryRecord record;
    record.name = name;
    record.temporary = stem + std::string(kTemporarySuffix);
    record.old = stem + std::string(kOldSuffix);
    record.original = original;
    return record;
}

void to_json(json& out, const RecoveryRecord& record) {
    auto original = to_json(record.original.mark);
    original["device"] = record.original.device;
    original["changed"] = record.original.changed_ns;
    out = {{"name", record.name},
           {"temporary", record.temporary},
           {"old", record.old},
           {"original", std::move(original)},
           {"access",
            {{"mode", record.access.mode}, {"owner", record.access.owner}, {"group", record.access.group}}},
           {"replacement", to_json(record.replacement)},
           {"phase", kPhaseNames.at(static_cast<std::size_t>(record.phase))}};
}

void from_json(const json& in, RecoveryRecord& record) {
    Fields fields(in, kObject);
    RecoveryRecord result;
    result.name = fields.get<std::string>("name");
    check_name(fields, result.name);
    result.temporary = fields.get<std::string>("temporary");
    result.old = fields.get<std::string>("old");
    if (digits_of(fields, "temporary", result.temporary, kTemporarySuffix) !=
        digits_of(fields, "old", result.old, kOldSuffix))
        fields.refuse("old", "has other digits than temporary");
    result.phase = static_cast<Phase>(fields.choose("phase", kPhaseNames));
    result.original = identity_from(fields.get<json>("original"));
    result.access = access_from(fields.get<json>("access"));
    result.replacement = replacement_from(fields.get<json>("replacement"));
    fields.refuse_others();
    check_marks(fields, result);
    record = std::move(result);
}

}  // namespace vmad::publish
