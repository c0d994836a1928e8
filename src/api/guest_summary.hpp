// The backups of one guest on one storage, summed up, with their one JSON form. daemon/guest_summaries makes
// it. Pure data, no thread rule.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <nlohmann/json_fwd.hpp>

namespace vmad::api {

/// Times are seconds since the epoch (UTC).
struct GuestSummary {
    std::optional<std::uint64_t> vmid{};  ///< none: archives whose names say nothing of a guest
    std::string storage{};                ///< Proxmox's name of it, or empty
    std::string guest{};                  ///< its name in the newest backup, or empty
    // Archives that are known.
    std::uint64_t backups = 0;
    std::uint64_t bytes = 0;
    // Repacked in the last 24 hours, and in the last 7 days: from jobs that are kept.
    std::uint64_t day_backups = 0;
    std::uint64_t day_bytes = 0;
    std::uint64_t day_new_bytes = 0;  ///< as far as it is known of them
    std::uint64_t week_backups = 0;
    std::uint64_t week_bytes = 0;
    std::uint64_t week_new_bytes = 0;
    // The backup that was repacked last.
    std::optional<std::int64_t> last_success_at{};
    std::optional<std::uint64_t> last_size{};
    std::optional<std::uint64_t> last_new_bytes{};
    /// The last good look at the archive of which it is longest ago; none when one never had one.
    std::optional<std::int64_t> verified_at{};
    std::uint64_t unverified = 0;
    std::uint64_t damaged = 0;
    friend bool operator==(const GuestSummary&, const GuestSummary&) = default;
};

/// Absent optionals and empty texts are left out.
void to_json(nlohmann::json& out, const GuestSummary& summary);
/// Throws base::Error that names the field. Unknown fields are ignored.
void from_json(const nlohmann::json& in, GuestSummary& summary);

}  // namespace vmad::api
