// vmactl: shows and steers the daemon, and a toolbox for VMA archives that needs none.

#include <fcntl.h>
#include <unistd.h>

#include <csignal>

#include "ctl/arguments.hpp"
#include "ctl/commands/command.hpp"
#include "ctl/failure.hpp"
#include "ctl/stop_signals.hpp"

namespace vmad::ctl {
namespace {

constexpr const char* kFooter =
    "\"vmactl COMMAND --help\" tells more.\n\n"
    "Exit codes: 0 done, 1 failed, 2 usage, 3 daemon unreachable, 4 no such job,\n"
    "5 timed out, 6 archive invalid or unsupported, 7 archive busy; after a signal,\n"
    "128 and its number.";

/// What vmactl and its commands take, and the objects that the values are written to.
class CommandLine {
  public:
    CommandLine()
        : parser_("vmactl", "Makes Proxmox VMA backups deduplicate, and shows what they are.",
                  "vmactl " VMAD_VERSION) {
        auto arguments = parser_.arguments();
        arguments.flag("--json", options_.json, "Print JSON, one object a line (any command)");
        arguments.option("--socket", options_.socket, "The daemon's socket")
            .environment("VMAD_SOCKET")
            .help_text("PATH (or $VMAD_SOCKET)");
        arguments.footer(kFooter);
        // Exactly one, and then no word that looks like a command is one: a file may be called "status".
        arguments.require_subcommand();
        for (const auto& entry : command_table()) {
            auto subcommand = arguments.subcommand(entry.name, entry.help);
            commands_.emplace_back(subcommand, entry.make());
            commands_.back().second->define(subcommand);
        }
    }

    /// As ArgumentParser::parse().
    [[nodiscard]] std::optional<std::string> parse(int argc, char** argv) {
        return parser_.parse(argc, argv);
    }

    [[nodiscard]] const GlobalOptions& options() const noexcept { return options_; }
    /// The command that was named. Only after parse.
    [[nodiscard]] Command& command() const {
        for (const auto& [subcommand, command] : commands_)
            if (subcommand.named()) return *command;
        throw base::UsageError("no command was named");
    }

  private:
    ArgumentParser parser_;
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

int run_and_report(int argc, char** argv) {
    Console console;
    try {
        return static_cast<int>(run(argc, argv, console));
    } catch (const base::Cancelled&) {
        return StopSignals::exit_status();
    } catch (const std::exception&) {
        const auto failure = current_failure();
        console.message(failure.message);
        return static_cast<int>(failure.code);
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
