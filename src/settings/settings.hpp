// The settings of the daemon: what config/vmad.toml documents, key by key.
//
// Knows which keys there are, their defaults, and how a value is spelled and limited; what a value does is
// the business of whoever reads it from here. Plain data once loaded: any thread may read it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace vmad::settings {

/// The place that gave a key its value.
struct Origin {
    std::string file;
    unsigned line = 0;  ///< from 1
    friend bool operator==(const Origin&, const Origin&) = default;
};

/// Paths are absolute, without "." or ".." components, doubled slashes or a slash at the end.
struct Settings {
    std::string socket = "/run/vmad/vmad.sock";
    std::string state_dir = "/var/lib/vmad";
    std::vector<std::string> directories;  ///< archives are accepted only below these; empty: anywhere
    unsigned workers = 1;                  ///< 1 to 64
    unsigned threads = 0;                  ///< of a worker, 1 to 64; 0: half of the processors, at most 4
    std::uint64_t memory_bytes = std::uint64_t{256} << 20;  ///< of a worker, for payload; 16 MiB to 64 GiB
    std::string spill_dir = "/var/tmp";                     ///< for what the memory has no room for
    int zstd_level = 3;                                     ///< 1 to 19

    /// By key; a key that is not here has its default.
    std::map<std::string, Origin, std::less<>> origins;
};

/// The defaults, overridden by what the file at `path` sets. Throws base::UsageError: "FILE:LINE:COLUMN:
/// what is wrong; what to write instead", for the first mistake in the file, or "FILE: why" when it cannot
/// be read.
[[nodiscard]] Settings load(const std::string& path);

/// One key with its value, for people and for tests.
struct SettingLine {
    std::string_view key;
    std::string value;   ///< as TOML spells it
    std::string origin;  ///< "default" or "FILE:LINE"
};

/// Every key, in alphabetical order.
[[nodiscard]] std::vector<SettingLine> describe(const Settings& settings);

}  // namespace vmad::settings
