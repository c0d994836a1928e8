#include "settings/settings.hpp"

#include <algorithm>
#include <cerrno>
#include <system_error>

#include <fmt/format.h>
#include <toml++/toml.h>

#include "base/error.hpp"
#include "base/path.hpp"
#include "settings/setting_keys.hpp"
#include "settings/setting_value.hpp"
#include "settings/settings_file.hpp"

namespace vmad::settings {
namespace {

/// A key that is known, or what stands at the end of a chain of tables. An empty table counts, so that it is
/// not overlooked.
struct Leaf {
    std::string name;
    const toml::key* key;
    const toml::node* node;
};

void collect_leaves(const toml::table& table, const std::string& prefix, std::vector<Leaf>& leaves) {
    for (const auto& [key, node] : table) {
        const std::string name = prefix + std::string(key.str());
        const auto* inner = node.as_table();
        if (inner && !inner->empty() && find_key(name) == nullptr)
            collect_leaves(*inner, name + '.', leaves);
        else
            leaves.push_back({name, &key, &node});
    }
}

/// Overrides what the file sets.
void apply(const toml::table& table, const std::string& path, LoadedSettings& loaded) {
    std::vector<Leaf> leaves;
    collect_leaves(table, "", leaves);
    // toml++ sorts by name; the first mistake to report is the first in the file.
    std::sort(leaves.begin(), leaves.end(), [](const Leaf& a, const Leaf& b) {
        const auto& left = a.key->source().begin;
        const auto& right = b.key->source().begin;
        return left < right;
    });
    const bool is_shared = path == base::system_path(kClusterFile);
    for (const Leaf& leaf : leaves) {
        if (const Key* known = find_key(leaf.name)) {
            const SettingValue value(*leaf.node, leaf.name);
            known->read(value, loaded.settings);
            loaded.settings.origins[leaf.name] = value.origin();
            continue;
        }
        const std::string message =
            message_at(leaf.key->source(), fmt::format("unknown key {}", toml_text(leaf.name)),
                       instead_of_key(leaf.name));
        if (!is_shared) throw base::UsageError(message);
        loaded.warnings.push_back(message);
    }
}

// From the weakest to the strongest: first those files, then these.

std::vector<std::string> main_files() {
    return {base::system_path(kVendorFile), base::system_path(kClusterFile), base::system_path(kNodeFile)};
}

std::vector<std::string> all_drop_ins() { return drop_ins(base::system_path(kDropInDirectory)); }

/// Takes a key from a table; false when it is missing. Throws base::UsageError when it makes no sense.
bool apply_key(const toml::table& table, std::string_view name, Settings& settings) {
    const auto* node = table.get(name);
    if (node != nullptr) find_key(name)->read(SettingValue(*node, std::string(name)), settings);
    return node != nullptr;
}

}  // namespace

LoadedSettings load_file(const std::string& path) {
    const auto table = parse_file(path);
    if (!table) fail_to_read(path, std::generic_category().message(ENOENT));
    LoadedSettings loaded;
    apply(*table, path, loaded);
    return loaded;
}

LoadedSettings load_standard() {
    LoadedSettings loaded;
    for (const auto& paths : {main_files(), all_drop_ins()})
        for (const std::string& path : paths)
            if (const auto table = parse_file(path)) apply(*table, path, loaded);
    return loaded;
}

Places::Places() {
    for (const std::string& path : main_files()) read(path);
    try {
        for (const std::string& path : all_drop_ins()) read(path);
    } catch (const base::UsageError& error) {
        unread_ = error.what();
    }
}

void Places::read(const std::string& path) {
    try {
        const auto table = parse_what_is_valid(path);
        try {
            (void)apply_key(table, "socket", settings_);
        } catch (const base::UsageError&) {
        }
        if (apply_key(table, "state_dir", settings_)) unread_.clear();
    } catch (const base::UsageError& error) {
        unread_ = error.what();
    }
}

const std::string& Places::state_dir() const {
    if (!unread_.empty()) throw base::UsageError(unread_);
    return settings_.state_dir;
}

std::vector<SettingLine> describe(const Settings& settings) {
    std::vector<SettingLine> lines;
    for (const Key& key : all_keys()) {
        const auto origin = settings.origins.find(key.name);
        lines.push_back({key.name, key.show(settings),
                         origin == settings.origins.end()
                             ? "default"
                             : fmt::format("{}:{}", origin->second.file, origin->second.line)});
    }
    return lines;
}

}  // namespace vmad::settings
