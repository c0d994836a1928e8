#include "pve/hook_setup.hpp"

#include <fcntl.h>

#include <filesystem>
#include <optional>

#include <fmt/format.h>

#include "base/error.hpp"
#include "io/durable_entry.hpp"
#include "io/file_metadata.hpp"
#include "pve/vzdump_config.hpp"

namespace vmad::pve {
namespace {

constexpr mode_t kNewConfigMode = 0644;
constexpr mode_t kHookDirectoryMode = 0755;

using std::filesystem::path;

std::string file_name(const std::string& file) { return path(file).filename(); }
std::string parent(const std::string& file) { return path(file).parent_path(); }

/// A directory of the node for changing its entries.
io::File open_directory(const HookNode& node, const std::string& directory) {
    auto file = node.find(directory, O_RDONLY | O_DIRECTORY);
    if (!file) throw base::Error(fmt::format("no such directory: {}", node.shown(directory)));
    return std::move(*file);
}

/// The file that vzdump reads, which may be elsewhere by a symbolic link, or not be there yet.
class ConfigFile {
  public:
    explicit ConfigFile(const HookNode& node) : node_(node), fs_(node.fs()) {
        etc_ = open_directory(node, parent(kVzdumpConfigFile));
        name_ = file_name(kVzdumpConfigFile);
        text_ = node.read(kVzdumpConfigFile);
        if (text_)
            open_original();
        else if (fs_.status_at(etc_, name_))
            throw base::Error(fmt::format("{} is a dangling symbolic link: remove it or create its target",
                                          node.shown(kVzdumpConfigFile)));
    }

    [[nodiscard]] bool exists() const noexcept { return text_.has_value(); }
    [[nodiscard]] std::string text() const { return text_.value_or(""); }

    /// What the file held before it was enabled, or that there was none.
    void back_up() const {
        const auto name = file_name(kConfigBackupFile);
        if (text_)
            io::write_durably(fs_, etc_, name, *text_, [&](const io::File& file) { set_attributes(file); });
        else
            io::remove_durably(fs_, etc_, name);
    }
    [[nodiscard]] std::optional<std::string> backup() const { return node_.read(kConfigBackupFile); }

    /// What was left beside it by an earlier call that was killed.
    void clear_up() const {
        io::remove_stale(fs_, etc_);
        io::remove_stale(fs_, directory());
        if (const auto scripts = node_.find(kHookDirectory, O_RDONLY | O_DIRECTORY))
            io::remove_stale(fs_, *scripts);
    }
    void write(const std::string& text) const {
        io::write_durably(fs_, directory(), name_, text, [&](const io::File& file) { set_attributes(file); });
    }
    /// True unless the file is elsewhere.
    [[nodiscard]] bool can_be_removed() const noexcept { return !elsewhere_; }
    void remove() const { io::remove_durably(fs_, etc_, name_); }

  private:
    void open_original() {
        auto original = node_.find(kVzdumpConfigFile, O_RDONLY | O_NONBLOCK);
        const auto entry = fs_.status_at(etc_, name_);
        if (entry && S_ISLNK(entry->st_mode)) {
            const auto real = fs_.real_path(*original);
            elsewhere_ = fs_.open(parent(real), O_RDONLY | O_DIRECTORY);
            name_ = file_name(real);
        }
        original_ = std::move(original);
    }
    [[nodiscard]] const io::File& directory() const noexcept { return elsewhere_ ? *elsewhere_ : etc_; }
    void set_attributes(const io::File& file) const {
        if (original_)
            io::copy_metadata(fs_, *original_, file, {});
        else
            fs_.change_mode(file, kNewConfigMode);
    }

    const HookNode& node_;
    io::FileSystem& fs_;
    io::File etc_;
    std::optional<io::File> elsewhere_;  ///< the directory that the file really is in
    std::string name_;                   ///< there
    std::optional<io::File> original_;
    std::optional<std::string> text_;
};

void check_hook(const HookNode& node) {
    const auto obstacle = node.obstacle(kHookScript);
    if (obstacle.empty()) return;
    throw base::Error(
        fmt::format("{} {}: every backup would fail; reinstall vmad, or make the hook executable",
                    node.shown(kHookScript), obstacle));
}

void check_earlier(const HookNode& node, const std::string& script) {
    if (!can_be_vzdump_script(script))
        throw base::UsageError(fmt::format(
            "the script \"{}\" in {} is not an absolute path, so the hook cannot run it: correct the line "
            "or remove it",
            script, node.shown(kVzdumpConfigFile)));
    if (file_name(script) == kEarlierScriptName && node.is_in_hook_directory(script))
        throw base::UsageError(
            fmt::format("the script in {} is {}, a name reserved for vmad: rename the script and update {}",
                        node.shown(kVzdumpConfigFile), script, node.shown(kVzdumpConfigFile)));
}

/// A file of the administrator's with this name is not ours to replace.
void check_link(const HookNode& node, const io::File& directory) {
    const auto entry = node.fs().status_at(directory, kEarlierScriptName);
    if (entry && !S_ISLNK(entry->st_mode))
        throw base::UsageError(
            fmt::format("{} is not a symbolic link, but its name is reserved for vmad: rename it",
                        directory.entry(kEarlierScriptName)));
}

io::File make_hook_directory(const HookNode& node) {
    if (auto there = node.find(kHookDirectory, O_RDONLY | O_DIRECTORY)) return std::move(*there);
    const auto above = open_directory(node, parent(kHookDirectory));
    // By the real path, because a symbolic link on the way may be one of an image.
    (void)node.fs().make_directory(node.fs().real_path(above) + "/" + file_name(kHookDirectory),
                                   kHookDirectoryMode);
    auto made = open_directory(node, kHookDirectory);
    node.fs().change_mode(made, kHookDirectoryMode);  // whatever the umask was
    io::sync_where_known(node.fs(), above);
    return made;
}

/// The script that vzdump ran itself before the hook was enabled; empty for none.
std::string earlier_script(const HookNode& node, const ConfigFile& config, bool& linked) {
    const auto directory = node.find(kHookDirectory, O_RDONLY | O_DIRECTORY);
    const auto target = directory ? node.fs().read_link(*directory, kEarlierScriptName) : std::nullopt;
    linked = target.has_value();
    if (target) {
        if (can_be_vzdump_script(*target)) return *target;
        throw base::Error(
            fmt::format("{}/{} points at \"{}\", which vzdump cannot run: remove the link or point it at "
                        "an absolute path",
                        node.shown(kHookDirectory), kEarlierScriptName, *target));
    }
    // A script that the hook runs by another entry has no link, so only the backup shows it.
    const auto before = config.backup().value_or("");
    const std::string script(vzdump_script(before));
    const bool was_kept =
        can_be_vzdump_script(script) && !node.is_hook(script) && node.is_in_hook_directory(script);
    return was_kept ? script : "";
}

/// Disabling that failed after its first step has left the link to the script that vzdump runs again.
HookChange remove_leftover(const HookNode& node, const std::string& script) {
    const auto directory = node.find(kHookDirectory, O_RDONLY | O_DIRECTORY);
    if (!directory || node.fs().read_link(*directory, kEarlierScriptName) != script) return {};
    io::remove_link_durably(node.fs(), *directory, kEarlierScriptName);
    return {.changed = true, .earlier = script, .linked = true};
}

}  // namespace

HookChange enable_hook(const HookNode& node) {
    check_hook(node);
    const ConfigFile config(node);
    config.clear_up();
    const auto text = config.text();
    HookChange change;
    change.earlier = vzdump_script(text);
    if (node.tells_vmad(change.earlier)) return change;
    if (!change.earlier.empty()) check_earlier(node, change.earlier);

    const auto directory = make_hook_directory(node);
    change.linked = !change.earlier.empty() && !node.is_in_hook_directory(change.earlier);
    if (change.linked) check_link(node, directory);
    if (change.linked)
        io::write_link_durably(node.fs(), directory, kEarlierScriptName, change.earlier);
    else
        io::remove_link_durably(node.fs(), directory, kEarlierScriptName);
    config.back_up();
    config.write(with_vzdump_script(text, kHookScript));
    change.changed = true;
    return change;
}

HookChange disable_hook(const HookNode& node) {
    const ConfigFile config(node);
    config.clear_up();
    const auto text = config.text();
    HookChange change;
    const auto is_hook = [&](const std::string& config_text) {
        const std::string script(vzdump_script(config_text));
        return !script.empty() && node.is_hook(script);
    };
    if (!is_hook(text)) return remove_leftover(node, std::string(vzdump_script(text)));
    change.earlier = earlier_script(node, config, change.linked);
    auto restored =
        change.earlier.empty() ? without_vzdump_script(text) : with_vzdump_script(text, change.earlier);
    // A line before it may name the hook as well.
    while (is_hook(restored)) restored = without_vzdump_script(restored);

    change.removed_file = restored.empty() && !config.backup() && config.can_be_removed();
    if (change.removed_file)
        config.remove();
    else
        config.write(restored);
    change.earlier = vzdump_script(restored);
    if (change.linked)
        io::remove_link_durably(node.fs(), open_directory(node, kHookDirectory), kEarlierScriptName);
    change.changed = true;
    return change;
}

}  // namespace vmad::pve
