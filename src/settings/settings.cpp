#include "settings/settings.hpp"

#include <fcntl.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <numeric>
#include <optional>
#include <system_error>

#include <climits>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <toml++/toml.h>

#include "base/error.hpp"
#include "base/size_text.hpp"
#include "base/unique_fd.hpp"
#include "settings/setting_value.hpp"

namespace vmad::settings {
namespace {

constexpr std::size_t kFileLimitBytes = 1 << 20;
/// Of a Unix socket's address, without the NUL at its end.
constexpr std::size_t kSocketLimitBytes = sizeof(sockaddr_un::sun_path) - 1;
constexpr std::int64_t kMostWorkers = 64;
constexpr std::int64_t kMostThreads = 64;
constexpr std::int64_t kMaxZstdLevel = 19;
constexpr std::uint64_t kLeastMemoryBytes = std::uint64_t{16} << 20;
constexpr std::uint64_t kMostMemoryBytes = std::uint64_t{64} << 30;

struct Key {
    std::string_view name;  ///< with the tables that it stands in: "table.key"
    void (*read)(const SettingValue& value, Settings& settings);
    std::string (*show)(const Settings& settings);
};

/// In alphabetical order.
constexpr Key kKeys[] = {
    {"directories",  //
     [](const SettingValue& value, Settings& settings) { settings.directories = value.paths(); },
     [](const Settings& settings) { return toml_text(settings.directories); }},
    {"memory",
     [](const SettingValue& value, Settings& settings) {
         settings.memory_bytes = value.size(kLeastMemoryBytes, kMostMemoryBytes);
     },
     [](const Settings& settings) { return toml_text(base::size_text(settings.memory_bytes)); }},
    {"socket",
     [](const SettingValue& value, Settings& settings) { settings.socket = value.path(kSocketLimitBytes); },
     [](const Settings& settings) { return toml_text(settings.socket); }},
    {"spill_dir",
     [](const SettingValue& value, Settings& settings) { settings.spill_dir = value.path(PATH_MAX - 1); },
     [](const Settings& settings) { return toml_text(settings.spill_dir); }},
    {"state_dir",
     [](const SettingValue& value, Settings& settings) { settings.state_dir = value.path(PATH_MAX - 1); },
     [](const Settings& settings) { return toml_text(settings.state_dir); }},
    {"threads",
     [](const SettingValue& value, Settings& settings) {
         settings.threads = static_cast<unsigned>(value.whole_number(0, kMostThreads));
     },
     [](const Settings& settings) { return std::to_string(settings.threads); }},
    {"workers",
     [](const SettingValue& value, Settings& settings) {
         settings.workers = static_cast<unsigned>(value.whole_number(1, kMostWorkers));
     },
     [](const Settings& settings) { return std::to_string(settings.workers); }},
    {"zstd_level",
     [](const SettingValue& value, Settings& settings) {
         settings.zstd_level = static_cast<int>(value.whole_number(1, kMaxZstdLevel));
     },
     [](const Settings& settings) { return std::to_string(settings.zstd_level); }},
};

[[noreturn]] void fail_to_read(const std::string& path, std::string_view why) {
    throw base::UsageError(fmt::format("{}: cannot be read: {}", path, why));
}

std::string read_file(const std::string& path) {
    const auto fail_errno = [&] { fail_to_read(path, std::generic_category().message(errno)); };
    const base::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) fail_errno();
    std::string text(kFileLimitBytes + 1, '\0');
    std::size_t size = 0;
    for (;;) {
        const auto count = ::read(fd.get(), text.data() + size, text.size() - size);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) fail_errno();
        size += static_cast<std::size_t>(count);
        if (size > kFileLimitBytes) fail_to_read(path, fmt::format("larger than {} bytes", kFileLimitBytes));
        if (count == 0) break;
    }
    text.resize(size);
    return text;
}

toml::table parse(const std::string& path) {
    try {
        return toml::parse(read_file(path), std::string_view(path));
    } catch (const toml::parse_error& error) {
        fail_at(error.source(), fmt::format("not TOML: {}", error.description()),
                "write each key once, as KEY = VALUE, with texts in quotes");
    }
}

/// What stands at the end of a chain of tables. An empty table counts, so that it is not overlooked.
struct Leaf {
    std::string name;
    const toml::key* key;
    const toml::node* node;
};

void collect_leaves(const toml::table& table, const std::string& prefix, std::vector<Leaf>& leaves) {
    for (const auto& [key, node] : table) {
        const std::string name = prefix + std::string(key.str());
        const auto* inner = node.as_table();
        if (inner && !inner->empty())
            collect_leaves(*inner, name + '.', leaves);
        else
            leaves.push_back({name, &key, &node});
    }
}

/// How many letters must be added, dropped or changed to make one word of the other.
std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), 0);
    for (std::size_t i = 0; i < a.size(); ++i) {
        std::size_t diagonal = row[0]++;
        for (std::size_t j = 0; j < b.size(); ++j) {
            const std::size_t changed = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            row[j + 1] = std::min({changed, row[j] + 1, diagonal + 1});
        }
    }
    return row.back();
}

[[noreturn]] void fail_unknown(const Leaf& leaf) {
    constexpr std::size_t kCloseDistance = 2;
    const auto distance = [&](const Key& key) { return edit_distance(key.name, leaf.name); };
    const auto nearest =
        std::min_element(std::begin(kKeys), std::end(kKeys),
                         [&](const Key& a, const Key& b) { return distance(a) < distance(b); });
    std::string instead;
    if (distance(*nearest) <= kCloseDistance) {
        instead = fmt::format("write \"{}\"", nearest->name);
    } else {
        std::vector<std::string_view> names;
        for (const Key& key : kKeys) names.push_back(key.name);
        instead = fmt::format("the keys are {}", fmt::join(names, ", "));
    }
    fail_at(leaf.key->source(), fmt::format("unknown key {}", toml_text(leaf.name)), instead);
}

}  // namespace

Settings load(const std::string& path) {
    const toml::table table = parse(path);
    std::vector<Leaf> leaves;
    collect_leaves(table, "", leaves);
    // toml++ sorts by name; the first mistake to report is the first in the file.
    std::sort(leaves.begin(), leaves.end(), [](const Leaf& a, const Leaf& b) {
        const auto& left = a.key->source().begin;
        const auto& right = b.key->source().begin;
        return left < right;
    });
    Settings settings;
    for (const Leaf& leaf : leaves) {
        const auto known = std::find_if(std::begin(kKeys), std::end(kKeys),
                                        [&](const Key& key) { return key.name == leaf.name; });
        if (known == std::end(kKeys)) fail_unknown(leaf);
        const SettingValue value(*leaf.node, leaf.name);
        known->read(value, settings);
        settings.origins[leaf.name] = value.origin();
    }
    return settings;
}

std::vector<SettingLine> describe(const Settings& settings) {
    std::vector<SettingLine> lines;
    for (const Key& key : kKeys) {
        const auto origin = settings.origins.find(key.name);
        lines.push_back({key.name, key.show(settings),
                         origin == settings.origins.end()
                             ? "default"
                             : fmt::format("{}:{}", origin->second.file, origin->second.line)});
    }
    return lines;
}

}  // namespace vmad::settings
