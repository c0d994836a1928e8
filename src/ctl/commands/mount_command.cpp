// vmactl mount and umount: an archive as files, by a program of its own, so that vmactl needs no libfuse.

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "base/child_start.hpp"
#include "base/limits.hpp"
#include "base/path.hpp"
#include "base/units.hpp"
#include "ctl/commands/command.hpp"
#include "ctl/commands/job_wait.hpp"
#include "ctl/operands/archive_name.hpp"
#include "ctl/operands/dump_directory.hpp"
#include "ctl/operands/mount_users.hpp"
#include "io/mount_table.hpp"

namespace vmad::ctl {
namespace {

constexpr const char* kMountProgram = "/usr/lib/vmad/vmad-mount";
constexpr const char* kMountPackage = "vmad-fuse";
constexpr std::string_view kMountType = "fuse.vmad";

/// Where the mount program is; tests and developers have one elsewhere.
std::string mount_program() {
    const char* named = std::getenv("VMAD_MOUNT");
    return named == nullptr ? kMountProgram : named;
}

/// The directory without symbolic links. Nothing is asked of what is mounted there, which may not answer.
std::string real_directory(io::FileSystem& fs, const std::string& path) {
    return fs.real_path(fs.open(path, O_PATH | O_DIRECTORY));
}

/// The mount of ours at exactly this directory.
std::optional<io::Mount> mount_at(io::FileSystem& fs, const std::string& directory) {
    const auto table = io::MountTable::read(fs);
    const auto* mount = table.find(directory);
    if (mount == nullptr || mount->mount_point != directory || mount->type != kMountType) return std::nullopt;
    return *mount;
}

/// Becomes the mount program.
[[noreturn]] void become(std::vector<std::string> words) {
    std::vector<char*> arguments;
    for (auto& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    ::execv(arguments.front(), arguments.data());
    if (errno == ENOENT)
        throw base::Error(fmt::format("{} is missing: install the package {} (apt install ./{}_*.deb)",
                                      words.front(), kMountPackage, kMountPackage));
    base::throw_errno("run", words.front());
}

class MountCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        arguments.operand("ARCHIVE", archive_, "Path or volume ID (--all: storage or directory)").required();
        arguments.operand("DIR", directories_, "Directory to mount at (--all: the last one)").required();
        const auto all =
            arguments.flag("--all", all_, "Show all archives of storages or directories as\nraw .vma");
        arguments.flag("--wait", wait_, "Wait for the unfinished jobs of these first").needs(all);
        arguments.flag("--foreground", foreground_,
                       "Stay in the foreground, with messages on\nstandard error");
        arguments.flag("--allow-other", allow_other_, "Let other users read the files");
        arguments.option("--memory", memory_, "Memory for what was read (default: 128M)").value_name("SIZE");
        arguments.option("--threads", threads_, "Number of threads that answer (default: 8)")
            .help_text("N")
            .between(1U, base::kMaxThreads);
        arguments.footer(
            "Shows each disk as DEVICE.raw, sparse, and each config under its own name, all\n"
            "read-only, until \"vmactl umount DIR\". A .vma.zst must be canonical, a .vma\n"
            "need not be; other archives have to be repacked first. Needs the package\n"
            "vmad-fuse.\n\n"
            "With --all, DIR shows each canonical .vma.zst and .vma as the raw .vma that\n"
            "restic and borg share most of, with notes, logs and backups of containers, and\n"
            "follows what comes and goes. Several storages or directories are folders of it.");
    }

    ExitCode run(Context& context) override {
        if (base::parse_size(memory_) < base::kMinMemoryBytes)
            throw base::UsageError(
                fmt::format("--memory: at least {}", base::spell_size(base::kMinMemoryBytes)));
        directory_ = real_directory(context.fs, directories_.back());
        if (const auto mount = mount_at(context.fs, directory_))
            throw base::Error(fmt::format("{} is a mount already, of {}: \"vmactl umount {}\" first",
                                          directory_, mount->source, directory_));
        if (all_) become(view_words(context));
        if (directories_.size() > 1)
            throw base::UsageError("one archive is mounted at one directory; --all takes several");
        auto words = common_words(context.options.json);
        words.insert(
            words.end(),
            {"--", absolute_path(archive_name(context.fs, context.console, archive_).path), directory_});
        become(std::move(words));
    }

  private:
    [[nodiscard]] std::vector<std::string> common_words(bool json) const {
        std::vector<std::string> words{mount_program(), "--memory", memory_, "--threads",
                                       std::to_string(threads_)};
        if (json) words.emplace_back("--json");
        if (foreground_) words.emplace_back("--foreground");
        if (allow_other_) words.emplace_back("--allow-other");
        return words;
    }

    /// The path; throws where the mount would hide what it shows.
    [[nodiscard]] const std::string& outside_mount(io::FileSystem& fs, const std::string& path) const {
        const auto real = real_directory(fs, path);
        if (real == directory_ || base::is_below(real, directory_))
            throw base::UsageError(
                fmt::format("{} would be hidden by a mount at {}: mount it elsewhere", path, directory_));
        return path;
    }

    /// Waits for what is to be waited for.
    [[nodiscard]] std::vector<std::string> view_words(Context& context) const {
        std::vector<std::string> sources{archive_};
        sources.insert(sources.end(), directories_.begin(), directories_.end() - 1);
        const auto folders = dump_directories(context.fs, context.console, sources);
        std::vector<std::string> paths;
        for (const auto& folder : folders) paths.push_back(outside_mount(context.fs, folder.path));
        // A job that failed was named; its archive is not shown.
        if (wait_) (void)JobWait(context, 0).run_below(paths);
        auto words = common_words(context.options.json);
        for (const auto& [name, path] : folders)
            words.insert(words.end(),
                         {"--folder", fmt::format("{}={}", folders.size() == 1 ? "" : name, path)});
        words.insert(words.end(), {"--", directory_});
        return words;
    }

    std::string archive_;                   ///< or the first of what --all shows
    std::vector<std::string> directories_;  ///< the others, and where to mount
    std::string directory_{};               ///< where to mount
    bool all_ = false;
    bool wait_ = false;
    std::string memory_ = "128M";
    bool foreground_ = false;
    bool allow_other_ = false;
    unsigned threads_ = 8;
};

/// What was mounted by an unprivileged user only this program can unmount. Whether it did; it says why not.
bool unmount_unprivileged(const std::string& directory, bool lazy) {
    std::vector<std::string> words{"fusermount3", "-u", "--", directory};
    if (lazy) words.insert(words.begin() + 2, "-z");
    std::vector<std::string> environment;
    for (char** entry = environ; *entry != nullptr; ++entry) environment.emplace_back(*entry);
    base::ChildStart start;
    start.give(STDERR_FILENO, STDERR_FILENO);
    const auto pid = start.run(words.front(), words, std::move(environment));
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status == 0;
}

class UmountCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        arguments.operand("DIR", directory_, "Directory that an archive is mounted at").required();
        arguments.flag("-l,--lazy", lazy_, "Unmount it now, also when it is in use; who uses\nit may go on");
        arguments.footer(
            "Also unmounts what is left when the mount's program was killed. Exits with 7\n"
            "when it is in use, and says by whom.");
    }

    ExitCode run(Context& context) override {
        directory_ = real_directory(context.fs, directory_);
        if (!mount_at(context.fs, directory_))
            throw base::UsageError(fmt::format("no archive is mounted at {}", directory_));
        const auto program = mount_program_at(directory_);
        if (::chdir("/") != 0) base::throw_errno("chdir", "/");  // or we would use it ourselves
        const auto code = unmount(context);
        if (code == ExitCode::done && program && !lazy_) wait_for_end(*program);
        return code;
    }

  private:
    [[nodiscard]] ExitCode unmount(Context& context) const {
        if (::umount2(directory_.c_str(), UMOUNT_NOFOLLOW | (lazy_ ? MNT_DETACH : 0)) == 0)
            return ExitCode::done;
        if (errno == EPERM)
            return unmount_unprivileged(directory_, lazy_) ? ExitCode::done : ExitCode::failed;
        if (errno != EBUSY) base::throw_errno("unmount", directory_);
        const auto users = users_of_mount(directory_);
        context.console.error(
            fmt::format("{} is in use{}{}; --lazy unmounts it all the same", directory_,
                        users.empty() ? "" : " by ", fmt::join(users, ", ")),
            {{"exit_code", static_cast<int>(ExitCode::busy)}, {"path", directory_}, {"users", users}});
        return ExitCode::busy;
    }

    std::string directory_;
    bool lazy_ = false;
};

}  // namespace

std::unique_ptr<Command> make_mount_command() { return std::make_unique<MountCommand>(); }
std::unique_ptr<Command> make_umount_command() { return std::make_unique<UmountCommand>(); }

}  // namespace vmad::ctl
