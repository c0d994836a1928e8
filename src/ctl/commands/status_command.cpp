// vmactl status: what the daemon does and has done; once, again and again, or for a monitoring system.

#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include <nlohmann/json.hpp>

#include "ctl/commands/command.hpp"
#include "ctl/daemon_connection.hpp"
#include "ctl/failure.hpp"
#include "ctl/text/local_time.hpp"
#include "ctl/text/status_check.hpp"
#include "ctl/text/status_text.hpp"

namespace vmad::ctl {
namespace {

constexpr const char* kFooter =
    "With --json: what the method org.vmad.Queue.Status replies.\n\n"
    "--check is a plugin for Nagios, Icinga and the like: one line with performance\n"
    "data, and exit codes of its own: 0 OK; 1 WARNING, a job has not ended a day\n"
    "after it was queued; 2 CRITICAL, jobs have failed or the daemon is down;\n"
    "3 UNKNOWN, for example no permission, or no answer within 10 seconds. A failed\n"
    "job no longer counts once it succeeds after \"vmactl retry\", or once\n"
    "\"vmactl cancel\" has taken note of it.";

constexpr unsigned kMaxInterval = 24 * 3600;

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

class StatusCommand final : public Command {
  public:
    void define(Arguments& arguments) override {
        watch_ = arguments.option("--watch", interval_seconds_, "Show it again every 2 seconds, or SECONDS")
                     .help_text("[SECONDS]")
                     .optional_value()
                     .between(1u, kMaxInterval);
        arguments.flag("--check", check_, "One line and an exit code for a monitoring system")
            .excludes(watch_);
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
        const auto status = connect_to_daemon(context.options).status();
        if (context.options.json) return nlohmann::json(status).dump() + "\n";
        return status_text(status, hook_notice(context.fs), now(), console);
    }

    static ExitCode check(Context& context) {
        Check check;
        try {
            check = check_of(connect_to_daemon(context.options).status(), now());
        } catch (const std::exception&) {
            check = check_of(current_failure());
        }
        context.console.print(check.line);
        return static_cast<ExitCode>(check.result);
    }

    Argument watch_;
    unsigned interval_seconds_ = 2;
    bool check_ = false;
};

}  // namespace

std::unique_ptr<Command> make_status_command() { return std::make_unique<StatusCommand>(); }

}  // namespace vmad::ctl
