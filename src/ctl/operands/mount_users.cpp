#include "ctl/operands/mount_users.hpp"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <fmt/format.h>

#include "base/path.hpp"

namespace vmad::ctl {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxUsers = 10;
constexpr int kPatienceMs = 5000;

bool is_within(const std::string& path, const std::string& directory) {
    return path == directory || base::is_below(path, directory);
}

/// A small file of /proc or /sys; empty when it cannot be read.
std::string content(const fs::path& path) {
    std::ifstream file(path);
    std::string text{std::istreambuf_iterator<char>(file), {}};
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return text;
}

/// What there is in a directory; nothing when it cannot be read, or goes meanwhile.
std::vector<fs::path> entries(const fs::path& directory) {
    std::vector<fs::path> found;
    std::error_code error;
    for (fs::directory_iterator entry(directory, error), end; !error && entry != end; entry.increment(error))
        found.push_back(entry->path());
    return found;
}

std::optional<pid_t> process_id(const fs::path& entry) {
    const auto name = entry.filename().string();
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    return error == std::errc() && end == name.data() + name.size() ? std::optional(pid) : std::nullopt;
}

bool leads_into(const fs::path& link, const std::string& directory) {
    std::error_code error;
    const auto target = fs::read_symlink(link, error);
    return !error && is_within(target.string(), directory);
}

bool uses(const fs::path& process, const std::string& directory) {
    for (const auto* name : {"cwd", "root", "exe"})
        if (leads_into(process / name, directory)) return true;
    for (const auto& descriptor : entries(process / "fd"))
        if (leads_into(descriptor, directory)) return true;
    return false;
}

}  // namespace

std::vector<std::string> users_of_mount(const std::string& mount_point) {
    std::vector<std::string> users;
    for (const auto& device : entries("/sys/block"))
        if (is_within(content(device / "loop/backing_file"), mount_point))
            users.push_back("/dev/" + device.filename().string());
    for (const auto& process : entries("/proc")) {
        if (users.size() >= kMaxUsers) break;
        const auto pid = process_id(process);
        if (pid && uses(process, mount_point))
            users.push_back(fmt::format("process {} ({})", *pid, content(process / "comm")));
    }
    return users;
}

std::optional<base::UniqueFd> mount_program_at(const std::string& mount_point) {
    const auto last_word = std::string(1, '\0') + mount_point + std::string(1, '\0');
    for (const auto& process : entries("/proc")) {
        const auto pid = process_id(process);
        if (!pid || content(process / "comm") != "vmad-mount" ||
            !content(process / "cmdline").ends_with(last_word))
            continue;
        base::UniqueFd descriptor(static_cast<int>(::syscall(SYS_pidfd_open, *pid, 0)));
        if (descriptor) return descriptor;
    }
    return std::nullopt;
}

void wait_for_end(const base::UniqueFd& process) noexcept {
    pollfd waited{process.get(), POLLIN, 0};
    (void)::poll(&waited, 1, kPatienceMs);
}

}  // namespace vmad::ctl
