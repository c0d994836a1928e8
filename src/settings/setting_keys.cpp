#include "settings/setting_keys.hpp"

#include <sys/un.h>

#include <algorithm>
#include <array>
#include <vector>

#include <climits>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/limits.hpp"
#include "base/spelling.hpp"
#include "base/units.hpp"

namespace vmad::settings {
namespace {

constexpr std::size_t kPathLimitBytes = PATH_MAX - 1;
/// Of a Unix socket's address, without the NUL at its end.
constexpr std::size_t kSocketLimitBytes = sizeof(sockaddr_un::sun_path) - 1;
constexpr std::int64_t kMaxWorkers = 64;
constexpr std::int64_t kMaxKeepDays = 3650;
constexpr std::int64_t kMaxKeepJobs = 100'000;
constexpr std::int64_t kDaySeconds = std::int64_t{24} * 60 * 60;
constexpr std::int64_t kMaxVerifyEverySeconds = kMaxKeepDays * kDaySeconds;
/// In the order of the enums.
constexpr std::array<std::string_view, 2> kShareBlocksWords{"auto", "off"};
constexpr std::array<std::string_view, 3> kVerifySourceWords{
    base::kVerifySourceWords[0], base::kVerifySourceWords[1], base::kVerifySourceWords[2]};
constexpr std::array<std::string_view, 2> kNotifyWords{"off", "proxmox"};
constexpr std::uint64_t kMinBwlimit = std::uint64_t{64} << 10;
constexpr std::uint64_t kMaxBwlimit = std::uint64_t{1} << 40;
constexpr std::uint64_t kMaxReserveBytes = std::uint64_t{64} << 40;

std::string toml_size(std::uint64_t bytes) { return toml_text(base::spell_size(bytes)); }

std::string toml_duration(std::int64_t seconds) { return toml_text(base::spell_duration(seconds)); }

constexpr Key kKeys[] = {
    {"bwlimit",
     [](const SettingValue& value, Settings& settings) {
         settings.bwlimit_bytes_per_second = value.size_or("0", kMinBwlimit, kMaxBwlimit).value_or(0);
     },
     [](const Settings& settings) { return toml_size(settings.bwlimit_bytes_per_second); }},
    {"command_timeout",
     [](const SettingValue& value, Settings& settings) {
         settings.command_timeout_seconds = value.duration(1, kDaySeconds);
     },
     [](const Settings& settings) { return toml_duration(settings.command_timeout_seconds); }},
    {"defer_while_vzdump_runs",
     [](const SettingValue& value, Settings& settings) {
         settings.defer_while_vzdump_runs = value.boolean();
     },
     [](const Settings& settings) -> std::string {
         return settings.defer_while_vzdump_runs ? "true" : "false";
     }},
    {"directories",
     [](const SettingValue& value, Settings& settings) {
         settings.directories = value.paths(kPathLimitBytes);
     },
     [](const Settings& settings) { return toml_text(settings.directories); }},
    {"grace_period",
     [](const SettingValue& value, Settings& settings) {
         settings.grace_period_seconds = value.duration(0, kDaySeconds);
     },
     [](const Settings& settings) { return toml_duration(settings.grace_period_seconds); }},
    {"keep_days",
     [](const SettingValue& value, Settings& settings) {
         settings.keep_days = static_cast<unsigned>(value.integer(0, kMaxKeepDays));
     },
     [](const Settings& settings) { return std::to_string(settings.keep_days); }},
    {"keep_jobs",
     [](const SettingValue& value, Settings& settings) {
         settings.keep_jobs = static_cast<unsigned>(value.integer(1, kMaxKeepJobs));
     },
     [](const Settings& settings) { return std::to_string(settings.keep_jobs); }},
    {"memory",
     [](const SettingValue& value, Settings& settings) {
         settings.memory_bytes = value.size(base::kMinMemoryBytes, base::kMaxMemoryBytes);
     },
     [](const Settings& settings) { return toml_size(settings.memory_bytes); }},
    {"metrics_file",
     [](const SettingValue& value, Settings& settings) {
         settings.metrics_file = value.is_empty_string() ? "" : value.path(kPathLimitBytes);
     },
     [](const Settings& settings) { return toml_text(settings.metrics_file); }},
    {"notify",
     [](const SettingValue& value, Settings& settings) {
         settings.notify = static_cast<Notify>(value.one_of(kNotifyWords));
     },
     [](const Settings& settings) {
         return toml_text(kNotifyWords[static_cast<std::size_t>(settings.notify)]);
     }},
    {"on_failure",
     [](const SettingValue& value, Settings& settings) {
         settings.on_failure = value.command(kPathLimitBytes);
     },
     [](const Settings& settings) { return toml_text(settings.on_failure); }},
    {"on_success",
     [](const SettingValue& value, Settings& settings) {
         settings.on_success = value.command(kPathLimitBytes);
     },
     [](const Settings& settings) { return toml_text(settings.on_success); }},
    {"reserve",
     [](const SettingValue& value, Settings& settings) {
         settings.reserve_bytes = value.size_or("auto", 0, kMaxReserveBytes);
     },
     [](const Settings& settings) {
         return settings.reserve_bytes ? toml_size(*settings.reserve_bytes) : toml_text("auto");
     }},
    {"share_blocks",
     [](const SettingValue& value, Settings& settings) {
         settings.share_blocks = static_cast<ShareBlocks>(value.one_of(kShareBlocksWords));
     },
     [](const Settings& settings) {
         return toml_text(kShareBlocksWords[static_cast<std::size_t>(settings.share_blocks)]);
     }},
    {"socket",
     [](const SettingValue& value, Settings& settings) { settings.socket = value.path(kSocketLimitBytes); },
     [](const Settings& settings) { return toml_text(settings.socket); }},
    {"spill_dir",
     [](const SettingValue& value, Settings& settings) { settings.spill_dir = value.path(kPathLimitBytes); },
     [](const Settings& settings) { return toml_text(settings.spill_dir); }},
    {"start_window",
     [](const SettingValue& value, Settings& settings) {
         settings.start_window = value.is_empty_string() ? std::nullopt : std::optional(value.start_window());
     },
     [](const Settings& settings) {
         return toml_text(settings.start_window ? settings.start_window->text() : "");
     }},
    {"state_dir",
     [](const SettingValue& value, Settings& settings) { settings.state_dir = value.path(kPathLimitBytes); },
     [](const Settings& settings) { return toml_text(settings.state_dir); }},
    {"threads",
     [](const SettingValue& value, Settings& settings) {
         settings.threads = static_cast<unsigned>(value.integer(0, base::kMaxThreads));
     },
     [](const Settings& settings) { return std::to_string(settings.threads); }},
    {"verify_bwlimit",
     [](const SettingValue& value, Settings& settings) {
         settings.verify_bwlimit_bytes_per_second = value.size_or("auto", kMinBwlimit, kMaxBwlimit);
     },
     [](const Settings& settings) {
         const auto& limit = settings.verify_bwlimit_bytes_per_second;
         return limit ? toml_size(*limit) : toml_text("auto");
     }},
    {"verify_every",
     [](const SettingValue& value, Settings& settings) {
         settings.verify_every_seconds = value.duration_or("off", kDaySeconds, kMaxVerifyEverySeconds);
     },
     [](const Settings& settings) {
         const auto& every = settings.verify_every_seconds;
         return every ? toml_duration(*every) : toml_text("off");
     }},
    {"verify_source",
     [](const SettingValue& value, Settings& settings) {
         settings.verify_source = static_cast<base::VerifySource>(value.one_of(kVerifySourceWords));
     },
     [](const Settings& settings) {
         return toml_text(kVerifySourceWords[static_cast<std::size_t>(settings.verify_source)]);
     }},
    {"verify_window",
     [](const SettingValue& value, Settings& settings) {
         settings.verify_window =
             value.is_empty_string() ? std::nullopt : std::optional(value.start_window());
     },
     [](const Settings& settings) {
         return toml_text(settings.verify_window ? settings.verify_window->text() : "");
     }},
    {"workers",
     [](const SettingValue& value, Settings& settings) {
         settings.workers = static_cast<unsigned>(value.integer(1, kMaxWorkers));
     },
     [](const Settings& settings) { return std::to_string(settings.workers); }},
    {"zstd_level",
     [](const SettingValue& value, Settings& settings) {
         settings.zstd_level = static_cast<int>(value.integer(base::kMinZstdLevel, base::kMaxZstdLevel));
     },
     [](const Settings& settings) { return std::to_string(settings.zstd_level); }},
};

}  // namespace

std::span<const Key> all_keys() { return kKeys; }

const Key* find_key(std::string_view name) {
    const auto* key = std::find_if(std::begin(kKeys), std::end(kKeys),
                                   [&](const Key& known) { return known.name == name; });
    return key == std::end(kKeys) ? nullptr : key;
}

std::string instead_of_key(std::string_view unknown) {
    std::vector<std::string> names;
    for (const Key& key : kKeys) names.emplace_back(key.name);
    if (const auto meant = base::similar_word(unknown, names)) return fmt::format("write \"{}\"", *meant);
    return fmt::format("the keys are {}", fmt::join(names, ", "));
}

}  // namespace vmad::settings
