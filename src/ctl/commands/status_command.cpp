// vmactl status: shows the daemon's status once, repeatedly, or as a check for a monitoring system.

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include <nlohmann/json.hpp>

#include "api/queue_client.hpp"
#include "base/path.hpp"
#include "ctl/commands/command.hpp"
#include "ctl/failure.hpp"
#include "ctl/text/local_time.hpp"
#include "ctl/text/status_check.hpp"
#include "ctl/text/status_text.hpp"
#include "pve/hook_node.hpp"
#include "pve/vzdump_config.hpp"

namespace vmad::ctl {
namespace {

constexpr const char* kFooter =
    "With --json: the reply of org.vmad.Queue.Status.\n\n"
    "--check works as a plugin for Nagios, Icinga and similar systems. It prints one\n"
    "line with performance data and has its own exit codes: 0 OK; 1 WARNING, a job is\n"
    "unfinished a day after it was queued; 2 CRITICAL, a job has failed or the daemon\n"
    "is down; 3 UNKNOWN, for example permission denied or no reply within 10 seconds.\n"
    "A failed job counts until it succeeds after \"vmactl retry\" or is acknowledged\n"
    "with \"vmactl cancel\".";

constexpr std::int64_t kMaxInterval = std::int64_t{24} * 3600;

/// Lines that the terminal on standard output has; 0 when it is none.
std::size_t terminal_height() {
    winsize size{};
    if (!::isatty(STDOUT_FILENO) || ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0) return 0;
    return size.ws_row;
}

/// The text over what the terminal showed, cut off at its end, so that nothing scrolls and nothing flickers.
std::string redrawn(const std::string& text, std::size_t height) {
    std::string screen = "\x1b[H";
    std::size_t begin = 0;
    for (std::size_t line = 1; line < height && begin < text.size(); ++line) {
        const auto end = text.find('\n', begin);
        screen.append(text, begin, end - begin).append("\x1b[K\n");
        begin = end + 1;
    }
    return screen + "\x1b[J";
}

/// Looks at this node (base::system_path). Nothing to say where there is no Proxmox VE, or about a file that
/// cannot be read.
HookWarning hook_warning(io::FileSystem& fs) noexcept {
    HookWarning warning;
    try {
        const pve::HookNode node(fs, base::system_path(""));
        if (!node.find("/etc/pve", O_PATH | O_DIRECTORY) && !node.find(pve::kVzdumpConfigFile, O_PATH))
            return warning;
        // One after the other: what was found stays when the rest cannot be read.
        warning.not_enabled = !node.tells_vmad(node.script());
        for (const auto& job : node.overriding_jobs().jobs) warning.overriding_jobs.push_back(job.id);
    } catch (...) {
        // Not what was asked for; `vmactl hook status` says what is wrong.
    }
    return warning;
}

class StatusCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        watch_ = arguments
                     .duration("--watch", interval_seconds_, {1, kMaxInterval},
                               "Refresh every DURATION (default 2s)")
                     .help_text("[DURATION]")
                     .optional_value();
        arguments.flag("--check", check_, "Print one line for a monitoring system").excludes(watch_);
        arguments.footer(kFooter);
    }

    ExitCode run(Context& context) override {
        if (check_) return check(context);
        if (!watch_.given()) {
            context.console.print(report(context, context.console));
            return ExitCode::done;
        }
        for (bool first = true;; first = false) {
            const Console console;  // as wide as the terminal is by now
            const auto text = report(context, console);
            const auto height = terminal_height();
            const bool redraws = height != 0 && !context.options.json;
            if (redraws)
                context.console.print(redrawn(text, height));
            else
                context.console.print((first || context.options.json ? "" : "\n") + text);
            std::this_thread::sleep_for(std::chrono::seconds(interval_seconds_));
        }
    }

  private:
    /// Connects anew each time: the daemon does not keep connections that say nothing for long, and may have
    /// been restarted.
    static std::string report(const Context& context, const Console& console) {
        const auto status = context.daemon().status();
        if (context.options.json) return nlohmann::json(status).dump() + "\n";
        return status_text(status, hook_warning(context.fs), now(), console) +
               growth_table(guests(context), console);
    }

    /// Nice to have: what is wrong, the status has told already.
    static std::vector<api::GuestSummary> guests(const Context& context) try {
        return context.daemon().guests();
    } catch (const base::Error&) {
        return {};
    }

    static ExitCode check(Context& context) {
        Check check;
        try {
            check = check_of(context.daemon().status(), now());
        } catch (const std::exception&) {
            check = check_of(current_failure());
        }
        context.console.print(check.line);
        return static_cast<ExitCode>(check.result);
    }

    Argument watch_;
    std::int64_t interval_seconds_ = 2;
    bool check_ = false;
};

}  // namespace

std::unique_ptr<Command> make_status_command() { return std::make_unique<StatusCommand>(); }

}  // namespace vmad::ctl
