// vmactl cp: files and directories out of the disks in an archive.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/child_start.hpp"
#include "ctl/commands/command.hpp"
#include "ctl/operands/archive_name.hpp"
#include "ctl/operands/guest_archive.hpp"
#include "ctl/text/archive_text.hpp"
#include "guest/tree_sender.hpp"
#include "guest/tree_writer.hpp"
#include "guest/volume_choice.hpp"

namespace vmad::ctl {
namespace {

bool is_directory(const std::string& path) {
    struct stat status {};
    return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

/// The last name in a path; empty for the root.
std::string name_in(std::string path) {
    while (path.ends_with('/')) path.pop_back();
    auto name = path.substr(path.rfind('/') + 1);
    if (name == "." || name == "..")
        throw base::UsageError(fmt::format("{}: name the directory itself", path));
    return name;
}

/// The next file would fail as well.
bool is_of_target(const base::Error& error) {
    const auto* system = dynamic_cast<const base::SystemError*>(&error);
    return system != nullptr && (system->number() == ENOSPC || system->number() == EDQUOT ||
                                 system->number() == EROFS || system->number() == EIO);
}

/// Reads the file system in a process of its own, which may be turned against us by what it reads.
class ConfinedReader {
  public:
    /// Sends what `work` does to `pipe()`. What it throws comes as CopyStep::fatal.
    explicit ConfinedReader(const std::function<void(int fd)>& work) {
        auto pipe = base::make_pipe();
        (void)::fcntl(pipe.write.get(), F_SETPIPE_SZ, 1 << 20);
        process_ = ::fork();
        if (process_ < 0) base::throw_errno("fork", "vmactl");
        if (process_ == 0) {
            pipe.read.reset();  // or its writer would never notice that we are gone
            become(pipe.write.get(), work);
        }
        pipe_ = std::move(pipe.read);
    }
    ConfinedReader(const ConfinedReader&) = delete;
    ConfinedReader& operator=(const ConfinedReader&) = delete;
    ~ConfinedReader() {
        if (process_ <= 0) return;
        (void)::kill(process_, SIGKILL);  // a damaged file system may keep it busy for ever
        (void)wait();
    }

    [[nodiscard]] int pipe() const noexcept { return pipe_.get(); }

    /// Until there is something to read. Throws base::Cancelled.
    void wait_for_record(const base::CancelFlag& cancel) const {
        constexpr int kLookAgainMs = 500;  // a signal may come just before the call
        pollfd ready{pipe_.get(), POLLIN, 0};
        do cancel.check();
        while (::poll(&ready, 1, kLookAgainMs) <= 0);
    }

    /// To be called when the pipe has ended too early.
    [[noreturn]] void throw_end() {
        throw base::Error(
            fmt::format("reading the guest's files failed ({}); their file system may be damaged",
                        base::describe_end(wait())));
    }

  private:
    [[noreturn]] static void become(int fd, const std::function<void(int fd)>& work) {
        try {
            const base::UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
            for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
                if (::dup2(null.get(), standard) < 0) base::throw_errno("dup2", "/dev/null");
            work(fd);
            guest::send_record(fd, {});
        } catch (const std::exception&) {
            report(fd);
        }
        ::_exit(0);
    }

    static void report(int fd) noexcept {
        try {
            const auto failure = current_failure();
            guest::send_record(fd, {.step = guest::CopyStep::fatal,
                                    .number = static_cast<std::uint64_t>(failure.code),
                                    .text = failure.message});
        } catch (const std::exception&) {
            ::_exit(1);
        }
    }

    siginfo_t wait() noexcept {
        siginfo_t info{};
        while (::waitid(P_PID, static_cast<id_t>(process_), &info, WEXITED) != 0 && errno == EINTR) {
        }
        process_ = -1;
        return info;
    }

    pid_t process_ = -1;
    base::UniqueFd pipe_;
};

class CpCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        arguments
            .operand("FILE", words_,
                     "What to copy, as ARCHIVE:/PATH; the last one is\nthe target: a directory, a new name, "
                     "or - for\nstandard output")
            .required();
        arguments.option("--volume", volume_, "The volume that PATH is on").value_name("NAME");
        arguments.flag("--force", options_.force, "Replace existing files");
        arguments.flag("--owner", options_.keep_owners,
                       "Keep owners, groups, set-user-ID bits and device\nnodes; needs root");
        arguments.footer(
            "Copies files, and directories with all that is in them, out of the guest's\n"
            "disks, with permissions and times. Without --volume, they are on the only volume\n"
            "that holds a system. Reads ext2, ext3, ext4 and NTFS. Symbolic links in PATH are\n"
            "followed, those in a directory are copied, and those at the target are never\n"
            "followed. What cannot be copied is named, and the rest is copied all the same;\n"
            "no part of a file is left.");
    }

    ExitCode run(Context& context) override {
        if (words_.size() < 2) throw base::UsageError("name what to copy, and where to");
        target_ = words_.back();
        words_.pop_back();
        try {
            const auto archive = take_sources();
            archive_ = archive_name(context.fs, context.console, archive).path;
            copy(context);
            if (context.options.json && !to_standard_output()) print(context);
        } catch (const base::Error&) {
            return report_failure(context.console, archive_);
        }
        return code_;
    }

  private:
    [[nodiscard]] bool to_standard_output() const { return target_ == kStandardStream; }

    /// Returns the word for the archive.
    std::string take_sources() {
        std::string archive;
        for (const auto& word : words_) {
            const auto [of, path] = guest_path(word);
            if (!path)
                throw base::UsageError(
                    fmt::format("{}: no path in the guest; ARCHIVE:/PATH is expected", word));
            if (!archive.empty() && of != archive)
                throw base::UsageError("all files must come from one archive");
            archive = of;
            sources_.push_back({*path, name_in(*path)});
        }
        return archive;
    }

    void print(Context& context) const {
        context.console.print_json({{"path", archive_},
                                    {"directory", directory_},
                                    {"files", tree_writer_->files()},
                                    {"failed", failed_}});
    }

    void copy(Context& context) {
        GuestArchive guest(context.fs, context.console, archive_);
        open_target();
        ConfinedReader reader([&](int fd) {
            const auto tree = guest::open_volume(guest.enter(volume_), volume_);
            guest::send_files(*tree, sources_, fd);
        });
        receive(context, reader);
    }

    /// A target that is not there yet is the name for the one source.
    void open_target() {
        if (to_standard_output()) {
            if (sources_.size() != 1)
                throw base::UsageError("only one file can be written to standard output");
            writer_ = std::make_unique<guest::ContentWriter>(STDOUT_FILENO, "standard output");
            return;
        }
        directory_ = target_;
        if (!is_directory(target_) && sources_.size() == 1 && !sources_[0].target.empty()) {
            sources_[0].target = name_in(target_);
            directory_ = parent_of(target_);
        }
        options_.names.clear();
        for (const auto& source : sources_) options_.names.push_back(source.target);
        auto writer = std::make_unique<guest::TreeWriter>(directory_, options_);
        tree_writer_ = writer.get();
        writer_ = std::move(writer);
    }

    static std::string parent_of(std::string path) {
        while (path.ends_with('/')) path.pop_back();
        const auto slash = path.rfind('/');
        return slash == path.npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
    }

    void receive(Context& context, ConfinedReader& reader) {
        const StopSignals signals;
        ProgressBar bar(context.console, archive_label(archive_), {base::Stage::extracting});
        const auto progress = bar.sink();
        base::Progress so_far{.stage = base::Stage::extracting};
        guest::CopyRecord record;
        for (;;) {
            reader.wait_for_record(signals.flag());
            if (!guest::receive_record(reader.pipe(), record)) break;
            switch (record.step) {
                case guest::CopyStep::done:
                    return;
                case guest::CopyStep::fatal:
                    throw_fatal(record);
                case guest::CopyStep::total:
                    so_far.total_bytes = record.number;
                    break;
                case guest::CopyStep::warning:
                    context.console.message(record.text);
                    break;
                case guest::CopyStep::failed:
                    report(context, record.text);
                    writer_->take(record);
                    break;
                default:
                    take(context, record);
            }
            if (record.step != guest::CopyStep::data || !progress) continue;
            so_far.done_bytes += record.text.size();
            progress(so_far);
        }
        signals.flag().check();
        reader.throw_end();
    }

    void take(Context& context, const guest::CopyRecord& record) {
        try {
            writer_->take(record);
        } catch (const base::Error& error) {
            if (to_standard_output() || is_of_target(error)) throw;
            report(context, error.what());
        }
    }

    void report(Context& context, const std::string& text) {
        context.console.error(text, {{"exit_code", static_cast<int>(ExitCode::failed)}});
        code_ = ExitCode::failed;
        ++failed_;
    }

    [[noreturn]] static void throw_fatal(const guest::CopyRecord& record) {
        if (record.number == static_cast<std::uint64_t>(ExitCode::usage)) throw base::UsageError(record.text);
        if (record.number == static_cast<std::uint64_t>(ExitCode::invalid))
            throw base::Unsupported(record.text);
        throw base::Error(record.text);
    }

    std::vector<std::string> words_;
    std::string volume_;
    std::string archive_;
    std::string target_;
    std::string directory_;
    guest::TreeWriter::Options options_;
    std::vector<guest::CopySource> sources_;
    std::unique_ptr<guest::FileWriter> writer_;
    guest::TreeWriter* tree_writer_ = nullptr;  ///< the same, unless it is standard output
    std::uint64_t failed_ = 0;
    ExitCode code_ = ExitCode::done;
};

}  // namespace

std::unique_ptr<Command> make_cp_command() { return std::make_unique<CpCommand>(); }

}  // namespace vmad::ctl
