// The settings of the daemon: what config/vmad.toml documents, key by key.
//
// Knows which keys there are, their defaults, and how a value is spelled and limited; what a value does is
// the business of whoever reads it from here. Plain data once loaded: any thread may read it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/limits.hpp"
#include "settings/start_window.hpp"

namespace vmad::settings {

/// The place that gave a key its value.
struct Origin {
    std::string file;
    unsigned line = 0;  ///< from 1
    friend bool operator==(const Origin&, const Origin&) = default;
};

/// Whether new archives share blocks with the backup before.
enum class ShareBlocks {
    automatic,  ///< "auto": where the file system can
    off,
};

/// Who is told of failures and damage, beside on_failure.
enum class Notify {
    off,
    proxmox,  ///< Proxmox VE's notification system
};

/// Paths are absolute, without "." or ".." components, doubled slashes or a slash at the end.
struct Settings {
    std::string socket = "/run/vmad/vmad.sock";
    std::string state_dir = "/var/lib/vmad";
    std::vector<std::string> directories;  ///< archives are accepted only below these; empty: anywhere
    unsigned workers = 1;                  ///< 1 to 64
    unsigned threads = 0;                  ///< of a worker, 1 to 64; 0: half of the processors, at most 4
    std::uint64_t memory_bytes =
        base::kDefaultMemoryBytes;               ///< of a worker, for its reorder buffer; 16 MiB to 64 GiB
    std::string spill_dir = "/var/tmp";          ///< for what the memory has no room for
    int zstd_level = base::kDefaultZstdLevel;    ///< 1 to 19
    std::uint64_t bwlimit_bytes_per_second = 0;  ///< of all jobs together, 64 KiB to 1 TiB; 0: no limit
    std::optional<std::uint64_t> reserve_bytes;  ///< left free, to 64 TiB; none: 5 %, at most 1 GiB
    std::optional<StartWindow> start_window;     ///< when jobs start; none: always
    ShareBlocks share_blocks = ShareBlocks::automatic;
    base::VerifySource verify_source = base::VerifySource::automatic;
    /// Each archive is verified once in that time, 1 to 3650 days; none: only when somebody asks for it.
    std::optional<std::int64_t> verify_every_seconds;
    std::optional<StartWindow> verify_window;  ///< when verify jobs start; none: that of start_window
    /// Of all verify jobs together, 64 KiB to 1 TiB; none: they count in bwlimit_bytes_per_second.
    std::optional<std::uint64_t> verify_bwlimit_bytes_per_second;
    bool defer_while_vzdump_runs = true;
    std::int64_t grace_period_seconds =
        std::int64_t{15} * 60;            ///< of the old archive on a network file system; to 1 day
    unsigned keep_days = 30;              ///< for ended jobs; 0 to 3650
    unsigned keep_jobs = 1000;            ///< most ended jobs; 1 to 100000
    std::string metrics_file;             ///< empty: none
    std::vector<std::string> on_success;  ///< the words of a command, first the path of a program; or empty
    std::vector<std::string> on_failure;  ///< the same
    Notify notify = Notify::off;
    std::int64_t command_timeout_seconds = 300;  ///< for on_success and on_failure; 1 second to 1 day

    /// By key; a key that is not here has its default.
    std::map<std::string, Origin, std::less<>> origins;

    friend bool operator==(const Settings&, const Settings&) = default;
};

struct LoadedSettings {
    Settings settings;
    std::vector<std::string> warnings;  ///< "FILE:LINE:COLUMN: what is wrong; what to write instead"
};

// Both give the defaults, overridden by what the files set. They throw base::UsageError in the form of a
// warning, for the first mistake in the first file that has one, or "FILE: cannot be read: why". An unknown
// key is a mistake, but in /etc/pve/vmad.toml a warning: the nodes of a cluster share that file and are
// upgraded one by one. Paths are those of base::system_path().

/// One file alone, which must be there.
[[nodiscard]] LoadedSettings load_file(const std::string& path);

/// /usr/lib/vmad/vmad.toml, /etc/pve/vmad.toml, /etc/vmad/vmad.toml, and /etc/vmad/vmad.toml.d/*.toml by
/// name: later ones win key by key, and lists are not joined. A file that is not there is skipped.
[[nodiscard]] LoadedSettings load_standard();

/// Where the daemon is and keeps its state, for those who have to find it, of the files that load_standard()
/// reads. A mistake anywhere else in them must not hide the daemon, which goes on with the settings that it
/// has.
class Places {
  public:
    /// Never throws because of what is in the files, or because one cannot be read.
    Places();

    [[nodiscard]] const std::string& socket() const noexcept { return settings_.socket; }

    /// What is left in another directory nobody looks at. So it throws base::UsageError when the last file
    /// that may set it cannot be read, or sets it to what makes no sense.
    [[nodiscard]] const std::string& state_dir() const;

  private:
    void read(const std::string& path);

    Settings settings_;
    std::string unread_;  ///< of files that may set state_dir, the last mistake
};

/// One key with its value, for people and for tests.
struct SettingLine {
    std::string_view key;
    std::string value;   ///< as TOML spells it
    std::string origin;  ///< "default" or "FILE:LINE"
};

/// Every key, in alphabetical order.
[[nodiscard]] std::vector<SettingLine> describe(const Settings& settings);

}  // namespace vmad::settings
