// What the daemon remembers of an archive, whether or not a job of it is still known, and its one JSON form.
//
// The same form is kept in the catalogue (queue/catalogue), sent to workers and over the socket;
// org.vmad.Queue.varlink is its schema. Pure data, no thread rule.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include <nlohmann/json_fwd.hpp>

namespace vmad::api {

enum class Verdict {
    unverified,  ///< nobody has looked since it was changed
    good,        ///< it was as it had been published, at `verified_at`
    damaged,     ///< see `fault`
};
inline constexpr std::array<const char*, 3> kVerdictNames{"unverified", "good", "damaged"};
[[nodiscard]] const char* to_string(Verdict verdict) noexcept;

/// Of a sentence about an archive, which may quote names in it.
inline constexpr std::size_t kMostSentenceBytes = 1 << 12;

/// Times are seconds since the epoch (UTC) where their names say nothing else.
struct ArchiveRecord {
    std::string path;                     ///< absolute, UTF-8
    std::string storage{};                ///< Proxmox's name of it, or empty
    std::optional<std::uint64_t> vmid{};  ///< from its name
    std::string guest{};                  ///< name of the guest, or empty
    std::int64_t backup_at = 0;           ///< when it was made, by its name; else by its modification time
    std::uint64_t size_bytes = 0;         ///< of the file, as last seen
    std::int64_t modified_ns = 0;         ///< the same: nanoseconds since the epoch
    std::string digest{};                 ///< the published one of its content; empty: not known
    std::map<std::string, std::string> device_digests{};  ///< by device
    std::optional<std::uint64_t> new_bytes{};             ///< that the backup before does not have
    std::optional<std::int64_t> repacked_at{};
    std::optional<std::int64_t> verified_at{};  ///< when it was last found good; a repack verifies, too
    std::optional<std::int64_t> looked_at{};    ///< when it was last verified, with whatever result
    std::string mount_point{};                  ///< where its file system was mounted then; empty: not known
    Verdict verdict = Verdict::unverified;
    std::string fault{};        ///< of a damaged one: one sentence
    bool acknowledged = false;  ///< the same: somebody has cancelled its failed job
    friend bool operator==(const ArchiveRecord&, const ArchiveRecord&) = default;
};

/// True when it was read last one and a half times `every_seconds` ago or longer, although it should be read
/// that often: so late that something keeps it from being verified. A look that could not read it is none.
/// False without such a time, and for a damaged one.
[[nodiscard]] bool is_overdue(const ArchiveRecord& record, std::optional<std::int64_t> every_seconds,
                              std::int64_t now) noexcept;

/// Shortens what an archive may say of itself at any length: there is room for what a real one says.
void bound(ArchiveRecord& record);

/// Absent optionals and empty texts are left out.
void to_json(nlohmann::json& out, const ArchiveRecord& record);
/// Throws base::Error that names the field when one is missing, of a wrong type or out of range. Unknown
/// fields are ignored.
void from_json(const nlohmann::json& in, ArchiveRecord& record);

}  // namespace vmad::api
