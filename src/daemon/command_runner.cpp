#include "daemon/command_runner.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <optional>

#include <fmt/format.h>
#include <systemd/sd-daemon.h>

#include "base/child_start.hpp"
#include "base/error.hpp"
#include "base/units.hpp"
#include "daemon/job_log.hpp"
#include "daemon/output_lines.hpp"

namespace vmad::daemon {
namespace {

/// Waiting and running ones.
constexpr std::size_t kMaxCommands = 1000;
/// Between SIGTERM and SIGKILL.
constexpr std::chrono::seconds kPatience{5};
/// Longer than its unit has, systemd-run itself may run: it only hangs when the service manager does.
constexpr std::chrono::seconds kManagerPatience{30};
/// What is read after the end of a command, 64 KiB each: more does not fit a pipe, unless somebody still
/// writes.
constexpr int kLastReads = 16;

constexpr const char* kPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

using Texts = std::vector<std::string>;

/// True for a service: its sandbox, which a child inherits, must not be the command's.
bool runs_in_unit_of_its_own() { return sd_booted() > 0 && std::getenv("INVOCATION_ID") != nullptr; }

Texts variables_of(const api::Job& job) {
    Texts variables{fmt::format("VMAD_JOB={}", job.id), fmt::format("VMAD_KIND={}", api::to_string(job.kind)),
                    fmt::format("VMAD_STATE={}", api::to_string(job.state)), "VMAD_ARCHIVE=" + job.path};
    if (job.vmid) variables.push_back(fmt::format("VMAD_VMID={}", *job.vmid));
    if (!job.storage.empty()) variables.push_back("VMAD_STORAGE=" + job.storage);
    if (!job.guest.empty()) variables.push_back("VMAD_GUEST=" + job.guest);
    if (job.damaged) variables.emplace_back("VMAD_DAMAGED=1");
    return variables;
}

Texts environment_of(const api::Job& job) {
    const char* language = std::getenv("LANG");
    Texts environment{kPath, fmt::format("LANG={}", language != nullptr ? language : "C.UTF-8")};
    for (auto& variable : variables_of(job)) environment.push_back(std::move(variable));
    return environment;
}

/// Of systemd-run, as systemd 252 and later know it: it waits for the unit, and ends as that does.
Texts arguments_of_unit(const Texts& argv, const api::Job& job, std::chrono::seconds limit) {
    Texts arguments{"systemd-run", "--quiet", "--collect", "--pipe", "--wait", "--service-type=exec",
                    // What a mail program leaves in the background may finish, but within the limit.
                    "--property=ExitType=cgroup", fmt::format("--property=RuntimeMaxSec={}", limit.count()),
                    fmt::format("--property=TimeoutStopSec={}", kPatience.count()),
                    fmt::format("--description=vmad: {} for job {}", argv.front(), job.id)};
    for (const auto& variable : variables_of(job)) arguments.push_back("--setenv=" + variable);
    arguments.insert(arguments.end(), {"--", argv.front()});
    // The service manager replaces $NAME in arguments (not in the path): $$ is a dollar sign.
    for (auto argument = argv.begin() + 1; argument != argv.end(); ++argument) {
        arguments.emplace_back();
        for (const char c : *argument) arguments.back().append(c == '$' ? 2 : 1, c);
    }
    return arguments;
}

/// A file in memory: whoever writes it need not wait for a reader.
base::UniqueFd input_of(const api::Job& job) {
    const auto text = api::to_line(job);
    base::UniqueFd fd(::memfd_create("vmad-job", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!fd || ::pwrite(fd.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()) ||
        ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK) != 0)
        base::throw_errno("write", "a job for a command");
    return fd;
}

}  // namespace

/// One command. It has ended when its process has, and nobody holds its output any more: so what it left in
/// the background is within the time limit, too.
class CommandRunner::Command {
  public:
    Command(CommandRunner& runner, const Texts& argv, const api::Job& job, std::chrono::seconds limit)
        : runner_(runner), argv_(argv), job_(job), limit_(limit) {}
    Command(const Command&) = delete;
    Command& operator=(const Command&) = delete;
    ~Command() {
        if (pid_ <= 0) return;
        // Its number is its own and its group's until it is waited for.
        if (!ended_) signal_group(SIGKILL);
        (void)::waitpid(pid_, nullptr, WNOHANG);
    }

    /// Throws base::Error.
    void start() {
        const auto event = runner_.event_;
        const auto input = input_of(job_);
        auto output = base::make_pipe();
        base::set_non_blocking(output.read);
        base::ChildStart child;
        child.give(input.get(), STDIN_FILENO);
        child.give(output.write.get(), STDOUT_FILENO);
        child.give(output.write.get(), STDERR_FILENO);
        child.set_directory("/");
        child.set_own_group();
        in_unit_ = runs_in_unit_of_its_own();
        const auto arguments = in_unit_ ? arguments_of_unit(argv_, job_, limit_) : argv_;
        pid_ = child.run(arguments.front(), arguments, environment_of(job_));
        process_.reset(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
        if (!process_) base::throw_errno("pidfd_open", argv_.front());
        output_ = std::move(output.read);

        sd_event_source* source = nullptr;
        varlink::check_event(sd_event_add_io(event, &source, output_.get(), EPOLLIN, on_output, this),
                             "sd_event_add_io");
        output_source_.reset(source);
        varlink::check_event(sd_event_add_io(event, &source, process_.get(), EPOLLIN, on_exit, this),
                             "sd_event_add_io");
        exit_source_.reset(source);
        set_timer(in_unit_ ? limit_ + kManagerPatience : limit_);
        varlink::check_event(sd_event_now(event, CLOCK_MONOTONIC, &started_usec_), "sd_event_now");
    }

    void warn(std::string_view text) const noexcept {
        log_about_job(job_, LogLevel::warning, argv_.front() + ": " + std::string(text));
    }

  private:
    static int on_output(sd_event_source*, int, std::uint32_t, void* self) noexcept {
        auto& command = *static_cast<Command*>(self);
        if (!command.read_some()) command.output_source_.reset();
        command.end_if_over();
        return 0;
    }

    static int on_exit(sd_event_source*, int, std::uint32_t, void* self) noexcept {
        auto& command = *static_cast<Command*>(self);
        // Only looked at: its number is free again when it has been waited for, and may get signals until
        // then.
        siginfo_t info{};
        const int result =
            ::waitid(P_PID, static_cast<id_t>(command.pid_), &info, WEXITED | WNOHANG | WNOWAIT);
        // As long as it is traced its end shows before we may wait for it: we are called again.
        if (result == 0 && info.si_pid == 0) return 0;
        command.exit_source_.reset();
        command.exit_ = info;
        command.end_if_over();
        return 0;
    }

    static int on_limit(sd_event_source*, std::uint64_t, void* self) noexcept {
        auto& command = *static_cast<Command*>(self);
        if (command.killed_) {
            command.leave_to_kernel();
            return 0;
        }
        command.signal_group(command.late_ ? SIGKILL : SIGTERM);
        command.killed_ = command.late_;
        command.late_ = true;
        try {
            command.set_timer(kPatience);
        } catch (const std::exception& error) {
            command.warn(error.what());
        }
        command.end_if_over();
        return 0;
    }

    /// It hangs, in a share perhaps, and the others shall not wait for it: it is reaped whenever it ends.
    void leave_to_kernel() noexcept {
        warn("killed, but it hangs in the kernel: its storage may not answer");
        exit_source_.reset();
        sd_event_source* source = nullptr;
        if (sd_event_add_io(runner_.event_, &source, process_.get(), EPOLLIN, on_late_exit, nullptr) >= 0) {
            // The source, and the loop, have the descriptor from here on.
            (void)sd_event_source_set_io_fd_own(source, 1);
            (void)process_.release();
            (void)sd_event_source_set_floating(source, 1);
            sd_event_source_unref(source);
        }
        pid_ = -1;
        // Destroys this object.
        runner_.ended();
    }

    static int on_late_exit(sd_event_source* source, int process, std::uint32_t, void*) noexcept {
        (void)::waitid(P_PIDFD, static_cast<id_t>(process), nullptr, WEXITED | WNOHANG);
        (void)sd_event_source_set_floating(source, 0);
        return 0;
    }

    void set_timer(std::chrono::seconds delay) {
        const auto usec = static_cast<std::uint64_t>(std::chrono::microseconds(delay).count());
        sd_event_source* source = nullptr;
        varlink::check_event(
            sd_event_add_time_relative(runner_.event_, &source, CLOCK_MONOTONIC, usec, 0, on_limit, this),
            "sd_event_add_time");
        timer_.reset(source);
    }

    void signal_group(int number) const noexcept { ::kill(-pid_, number); }

    /// False when there is nothing, or nothing more, to be read.
    bool read_some() noexcept {
        std::array<char, 65536> bytes;
        const auto count = ::read(output_.get(), bytes.data(), bytes.size());
        if (count <= 0) return count < 0 && errno == EINTR;
        lines_.add({bytes.data(), static_cast<std::size_t>(count)});
        return true;
    }

    void end_if_over() noexcept {
        if (!exit_ || (output_source_ && !killed_)) return;
        for (int i = 0; output_source_ && i < kLastReads && read_some(); ++i) {
        }
        lines_.finish();
        ended_ = true;
        if (is_late())
            warn(fmt::format("killed: it did not end within {}", base::spell_duration(limit_.count())));
        else if (exit_->si_code != CLD_EXITED || exit_->si_status != 0)
            warn(base::describe_end(*exit_));
        // Destroys this object.
        runner_.ended();
    }

    /// When a unit is ended for its limit, systemd-run says no more than that it failed.
    bool is_late() const noexcept {
        if (!in_unit_) return late_;
        std::uint64_t now = started_usec_;
        (void)sd_event_now(runner_.event_, CLOCK_MONOTONIC, &now);
        const bool failed = exit_->si_code != CLD_EXITED || exit_->si_status != 0;
        return failed && std::chrono::microseconds(now - started_usec_) >= limit_;
    }

    CommandRunner& runner_;
    Texts argv_;
    api::Job job_;
    std::chrono::seconds limit_;
    bool in_unit_ = false;
    std::uint64_t started_usec_ = 0;
    pid_t pid_ = -1;
    base::UniqueFd process_;
    base::UniqueFd output_;
    OutputLines lines_{[this](std::string_view line) {
        log_about_job(job_, LogLevel::info, fmt::format("{}: {}", argv_.front(), line));
    }};
    std::optional<siginfo_t> exit_;
    bool late_ = false;    ///< it got SIGTERM
    bool killed_ = false;  ///< and SIGKILL
    bool ended_ = false;
    varlink::EventSource output_source_;  ///< none at the end of the output
    varlink::EventSource exit_source_;
    varlink::EventSource timer_;
};

CommandRunner::CommandRunner(sd_event* event) : event_(event) {}

CommandRunner::~CommandRunner() {
    for (std::size_t i = 1; i < commands_.size(); ++i) commands_[i]->warn("not run: vmad is stopping");
}

void CommandRunner::run(const Texts& argv, const api::Job& job, std::chrono::seconds limit) noexcept {
    if (argv.empty()) return;
    try {
        auto command = std::make_unique<Command>(*this, argv, job, limit);
        if (commands_.size() >= kMaxCommands)
            return command->warn(fmt::format("not run: {} commands are already waiting", commands_.size()));
        commands_.push_back(std::move(command));
    } catch (const std::exception& error) {
        return log_about_job(job, LogLevel::warning, error.what());
    }
    if (commands_.size() == 1) run_next();
}

void CommandRunner::run_next() noexcept {
    while (!commands_.empty()) {
        try {
            return commands_.front()->start();
        } catch (const std::exception& error) {
            commands_.front()->warn(error.what());
        }
        commands_.pop_front();
    }
}

void CommandRunner::ended() noexcept {
    commands_.pop_front();
    run_next();
}

}  // namespace vmad::daemon
