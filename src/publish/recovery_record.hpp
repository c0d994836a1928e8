// The record of one replacement under way: what a later process needs to recover after a crash.
//
// It is kept in the job file, durable before anything in the archive's directory depends on it. The directory
// is not in it: whoever recovers opens it from the job's path. Pure data, no thread rule.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "publish/file_identity.hpp"

namespace vmad::publish {

struct RecoveryRecord {
    enum class Phase {
        preparing,     ///< the temporary file may be there, unfinished; the archive was not touched
        publishing,    ///< `replacement` is complete; the two may have been exchanged
        renaming,      ///< as publishing, but by a plain rename over the archive, perhaps half done
        grace_period,  ///< `replacement` is in place for good; the original is still there by one of our
                       ///< names
    };

    std::string name;       ///< of the archive in its directory
    std::string temporary;  ///< ".vmad-<16 hex>.tmp"
    std::string old;        ///< ".vmad-<16 hex>.old", with the same digits
    FileIdentity original;
    FileAccess access;  ///< of the original, and of the replacement when it is complete
    /// All 0 until the temporary file was made; size and time 0 until it is complete. By content, all 0 until
    /// it is complete.
    FileMark replacement;
    Phase phase = Phase::preparing;

    /// What both marks tell their files by.
    [[nodiscard]] MarkBy marked_by() const noexcept {
        return original.mark.content == 0 ? MarkBy::inode : MarkBy::content;
    }
    friend bool operator==(const RecoveryRecord&, const RecoveryRecord&) = default;
};

/// A record in the phase `preparing` with fresh random names; `original` tells what marks are by.
[[nodiscard]] RecoveryRecord new_recovery_record(const std::string& name, const FileIdentity& original);

void to_json(nlohmann::json& out, const RecoveryRecord& record);
/// Throws base::Error that names the field when it is missing, unknown, of a wrong type, or not exactly of
/// the form above: a damaged record must never lead to the removal of another file.
void from_json(const nlohmann::json& in, RecoveryRecord& record);

}  // namespace vmad::publish
