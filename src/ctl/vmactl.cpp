// vmactl: shows and steers the daemon, and a toolbox for VMA archives that needs none.

#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <sstream>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "ctl/command.hpp"
#include "ctl/failure.hpp"
#include "ctl/stop_signals.hpp"

namespace vmad::ctl {
namespace {

constexpr const char* kFooter =
    "\"vmactl COMMAND --help\" tells more.\n\n"
    "Exit codes: 0 done, 1 failed, 2 usage, 3 daemon unreachable, 4 no such job,\n"
    "5 timed out, 6 archive invalid or unsupported, 7 archive busy; after a signal,\n"
    "128 and its number.";

/// The command line as CLI11 knows it, and what it writes its values to.
class CommandLine {
  public:
    CommandLine() : app_("Makes Proxmox VMA backups deduplicate, and shows what they are.", "vmactl") {
        app_.set_version_flag("--version", "vmactl " VMAD_VERSION, "Print the version and exit");
        app_.set_help_flag("-h,--help", "Print this help and exit");
        app_.add_flag("--json", options_.json, "Print JSON, one object a line (any command)");
        app_.add_option("--socket", options_.socket, "The daemon's socket")
            ->envname("VMAD_SOCKET")
            ->option_text("PATH (or $VMAD_SOCKET)");
        app_.footer(kFooter);
        app_.get_formatter()->label("REQUIRED", "");
        // Exactly one, and then no word that looks like a command is one: a file may be called "status".
        app_.require_subcommand(1);
        app_.fallthrough();
        for (const auto& entry : command_table()) {
            auto* subcommand = app_.add_subcommand(entry.name, entry.help);
            commands_.emplace_back(subcommand, entry.make());
            commands_.back().second->define(*subcommand);
        }
    }

    /// Throws CLI::ParseError, which is how help and version come out too.
    void parse(int argc, char** argv) { app_.parse(argc, argv); }

    /// What CLI11 has to say after `error`: help or version text; empty when it is a mistake.
    [[nodiscard]] std::string requested_text(const CLI::ParseError& error) const {
        std::ostringstream text;
        if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) app_.exit(error, text, text);
        return text.str();
    }

    [[nodiscard]] const GlobalOptions& options() const noexcept { return options_; }
    /// The command that was named. Only after parse.
    [[nodiscard]] Command& command() const {
        for (const auto& [subcommand, command] : commands_)
            if (subcommand->parsed()) return *command;
        throw base::UsageError("no command was named");
    }

  private:
    CLI::App app_;
    GlobalOptions options_;
    std::vector<std::pair<CLI::App*, std::unique_ptr<Command>>> commands_;
};

ExitCode run(int argc, char** argv, Console& console) {
    CommandLine line;
    try {
        line.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        if (const auto text = line.requested_text(error); !text.empty()) {
            console.print(text);
            return ExitCode::done;
        }
        throw base::UsageError(fmt::format("{}; see --help", error.what()));
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
