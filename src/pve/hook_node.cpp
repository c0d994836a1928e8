#include "pve/hook_node.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include <fmt/format.h>

#include "base/error.hpp"
#include "io/durable_entry.hpp"
#include "pve/storage_config.hpp"
#include "pve/vzdump_config.hpp"

namespace vmad::pve {
namespace {

/// The limit of a file in /etc/pve; /etc/vzdump.conf and scripts are smaller by far.
constexpr std::size_t kFileLimitBytes = 1 << 20;
constexpr mode_t kExecutableBits = 0111;

std::string in_hook_directory(const std::string& name) { return std::string(kHookDirectory) + "/" + name; }

/// What is hidden, the shell's "*" in the hook does not see.
bool is_visible(const std::string& name) { return !name.empty() && name.front() != '.'; }

/// True when a line that is no comment of the shell's names the hook, or the directory of its scripts as a
/// copy of the hook does.
bool names_hook(std::string_view text) {
    for (const std::string_view name : {std::string_view(kHookScript), std::string_view(kHookDirectory)}) {
        for (auto at = text.find(name); at != text.npos; at = text.find(name, at + 1)) {
            const auto begin = text.rfind('\n', at) + 1;  // npos + 1 is 0
            const auto first = text.find_first_not_of(" \t", begin);
            if (text[first] != '#') return true;
        }
    }
    return false;
}

}  // namespace

HookNode::HookNode(io::FileSystem& fs, std::string root) : fs_(fs), root_(std::move(root)) {
    while (root_.ends_with('/')) root_.pop_back();
    directory_ = fs_.open(root_.empty() ? "/" : root_, O_PATH | O_DIRECTORY);
}

std::optional<io::File> HookNode::find(const std::string& path, int flags) const {
    try {
        return fs_.open_in_root(directory_, path, flags);
    } catch (const base::SystemError& error) {
        // ELOOP: a link that points at itself is as good as none.
        if (error.number() == ENOENT || error.number() == ENOTDIR || error.number() == ELOOP)
            return std::nullopt;
        throw;
    }
}

std::optional<std::string> HookNode::read(const std::string& path) const {
    const auto file = find(path, O_RDONLY | O_NONBLOCK);  // should it be a pipe
    if (!file) return std::nullopt;
    if (!S_ISREG(fs_.status(*file).st_mode))
        throw base::Error(fmt::format("{} is not a regular file", shown(path)));
    return io::read_small_file(fs_, *file, kFileLimitBytes);
}

std::optional<struct stat> HookNode::status(const std::string& path) const {
    const auto file = find(path, O_PATH);
    if (!file) return std::nullopt;
    return fs_.status(*file);
}

std::string HookNode::obstacle(const std::string& path) const {
    const auto file = status(path);
    if (!file) return "is missing";
    if (!S_ISREG(file->st_mode)) return "is not a regular file";
    return (file->st_mode & kExecutableBits) == 0 ? "is not executable" : "";
}

bool HookNode::is_same_file(const std::string& a, const std::string& b) const {
    const auto one = status(a);
    const auto other = status(b);
    return one && other && one->st_dev == other->st_dev && one->st_ino == other->st_ino;
}

bool HookNode::is_hook(const std::string& script) const {
    return script == kHookScript || (script.starts_with('/') && is_same_file(script, kHookScript));
}

bool HookNode::tells_vmad(const std::string& script) const {
    return is_hook(script) || mentions_hook(script);
}

bool HookNode::mentions_hook(const std::string& script) const {
    try {
        return script.starts_with('/') && names_hook(read(script).value_or(""));
    } catch (const base::Error&) {
        return false;
    }
}

std::string HookNode::script() const {
    const auto text = read(kVzdumpConfigFile).value_or("");
    return std::string(vzdump_script(text));
}

std::vector<HookScript> HookNode::scripts() const {
    const auto directory = find(kHookDirectory, O_RDONLY | O_DIRECTORY);
    if (!directory) return {};
    auto names = fs_.entries(*directory);
    std::erase_if(names, [](const std::string& name) { return !is_visible(name); });
    std::sort(names.begin(), names.end());
    std::vector<HookScript> scripts;
    for (const auto& name : names)
        scripts.push_back(
            {name, fs_.read_link(*directory, name).value_or(""), obstacle(in_hook_directory(name))});
    return scripts;
}

bool HookNode::is_in_hook_directory(const std::string& script) const {
    const auto slash = script.rfind('/') + 1;
    const auto name = script.substr(slash);
    // By its path, because it may be missing now.
    if (is_visible(name) && is_same_file(script.substr(0, slash), kHookDirectory)) return true;
    const auto others = scripts();
    return std::any_of(others.begin(), others.end(), [&](const HookScript& other) {
        return other.name != kEarlierScriptName && is_same_file(script, in_hook_directory(other.name));
    });
}

BackupJobs HookNode::jobs() const {
    const auto text = read(kJobsFile);
    if (!text) return {};
    return backup_jobs_with_script(*text, shown(kJobsFile), node_name());
}

BackupJobs HookNode::overriding_jobs() const {
    auto result = jobs();
    std::erase_if(result.jobs,
                  [&](const BackupJob& job) { return !job.runs_here || tells_vmad(job.script); });
    return result;
}

}  // namespace vmad::pve
