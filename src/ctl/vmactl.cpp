// vmactl: controls the daemon, and works with VMA archives without it.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <string_view>

#include "cli/arguments.hpp"
#include "ctl/commands/command.hpp"
#include "ctl/failure.hpp"
#include "ctl/stop_signals.hpp"

namespace vmad::ctl {
namespace {

constexpr const char* kFooter =
    "See \"vmactl COMMAND --help\" or man vmactl for details.\n\n"
    "Exit codes: 0 success, 1 failure, 2 usage error, 3 daemon unreachable, 4 no such\n"
    "job, 5 timeout, 6 archive invalid or unsupported, 7 archive busy; 128 + N after\n"
    "signal N.";

/// What vmactl and its commands take, and the objects that the values are written to.
class CommandLine {
  public:
    CommandLine()
        : parser_("vmactl", "Repack and inspect Proxmox VMA backups, and control the vmad daemon.",
                  "vmactl " VMAD_VERSION) {
        auto arguments = parser_.arguments();
        arguments.flag("--json", options_.json, "Print JSON, one object per line");
        arguments.option("--socket", options_.socket, "Path of the daemon's socket")
            .environment("VMAD_SOCKET")
            .help_text("PATH (or $VMAD_SOCKET)");
        arguments.footer(kFooter);
        // At most one; the words after it are never commands: a file may be called "status".
        arguments.require_subcommand();
        for (const auto& entry : command_table()) {
            auto subcommand = arguments.subcommand(entry.name, entry.help);
            commands_.emplace_back(subcommand, entry.make());
            commands_.back().second->define(subcommand);
        }
        parser_.add_help_command();
    }

    /// As ArgumentParser::parse().
    [[nodiscard]] std::optional<std::string> parse(int argc, char** argv) {
        return parser_.parse(argc, argv);
    }

    [[nodiscard]] const GlobalOptions& options() const noexcept { return options_; }
    /// The command that was given. Only after parse.
    [[nodiscard]] Command& command() const {
        for (const auto& [subcommand, command] : commands_)
            if (subcommand.named()) return *command;
        throw base::UsageError("no command given");
    }

  private:
    cli::ArgumentParser parser_;
    GlobalOptions options_;
    std::vector<std::pair<Arguments, std::unique_ptr<Command>>> commands_;
};

ExitCode run(int argc, char** argv, Console& console) {
    CommandLine line;
    if (const auto text = line.parse(argc, argv)) {
        console.print(*text);
        return ExitCode::done;
    }
    io::FileSystem fs;
    Context context{line.options(), console, fs};
    return line.command().run(context);
}

/// Whether --json stands among the options, which a line that cannot be parsed does not say.
bool asks_for_json(int argc, char** argv) {
    const auto end = std::find(argv, argv + argc, std::string_view("--"));
    return std::find(argv, end, std::string_view("--json")) != end;
}

int run_and_report(int argc, char** argv) {
    Console console;
    if (asks_for_json(argc, argv)) console.use_json();
    try {
        return static_cast<int>(run(argc, argv, console));
    } catch (const base::Cancelled&) {
        return StopSignals::exit_status();
    } catch (const std::exception&) {
        return static_cast<int>(report_failure(console));
    }
}

/// A descriptor that the caller closed must not become that of an archive, into which messages would go then.
/// Writing to it still fails.
void occupy_standard_descriptors() {
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
        if (::fcntl(fd, F_GETFD) < 0) (void)::open("/dev/null", O_RDONLY);
}

}  // namespace
}  // namespace vmad::ctl

int main(int argc, char** argv) {
    vmad::ctl::occupy_standard_descriptors();
    // Whoever closes our output has seen enough: end without a word, even when started with it ignored.
    std::signal(SIGPIPE, SIG_DFL);
    return vmad::ctl::run_and_report(argc, argv);
}
