// What a subcommand of vmactl is: it declares its arguments, and runs. And the table of them all.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "cli/arguments.hpp"
#include "ctl/failure.hpp"
#include "ctl/text/console.hpp"
#include "io/file_system.hpp"

namespace vmad::api {
class QueueClient;
}

namespace vmad::ctl {

using cli::Argument;
using cli::Arguments;

/// Options that may stand before or behind the subcommand.
struct GlobalOptions {
    bool json = false;
    std::string socket{};  ///< empty: that of the daemon's settings
};

/// What a command works with; outlives it.
struct Context {
    const GlobalOptions& options;
    Console& console;
    io::FileSystem& fs;

    /// A new connection to the daemon; `limit` is for connecting and for each call but wait and monitor.
    /// Throws what QueueClient throws, and base::Error that says what to do when the socket is not for us.
    [[nodiscard]] api::QueueClient daemon(std::chrono::milliseconds limit = std::chrono::seconds(10)) const;
};

class Command {
  public:
    virtual ~Command() = default;
    /// Declares arguments and options; their values are written into this object when a line is parsed.
    virtual void define(Arguments& arguments) = 0;
    /// Throws what main turns into a message and an exit code.
    [[nodiscard]] virtual ExitCode run(Context& context) = 0;
};

struct CommandEntry {
    const char* name;
    const char* help;
    std::unique_ptr<Command> (*make)();
};

/// Every subcommand, in the order of --help.
[[nodiscard]] const std::vector<CommandEntry>& command_table();

// One per file NAME_command.cpp, but for those in queue_commands.cpp, and umount beside mount.
[[nodiscard]] std::unique_ptr<Command> make_info_command();
[[nodiscard]] std::unique_ptr<Command> make_verify_command();
[[nodiscard]] std::unique_ptr<Command> make_repack_command();
[[nodiscard]] std::unique_ptr<Command> make_repair_command();
[[nodiscard]] std::unique_ptr<Command> make_extract_command();
[[nodiscard]] std::unique_ptr<Command> make_diff_command();
[[nodiscard]] std::unique_ptr<Command> make_ls_command();
[[nodiscard]] std::unique_ptr<Command> make_cp_command();
[[nodiscard]] std::unique_ptr<Command> make_mount_command();
[[nodiscard]] std::unique_ptr<Command> make_umount_command();
[[nodiscard]] std::unique_ptr<Command> make_create_command();
[[nodiscard]] std::unique_ptr<Command> make_config_command();
[[nodiscard]] std::unique_ptr<Command> make_status_command();
[[nodiscard]] std::unique_ptr<Command> make_list_command();
[[nodiscard]] std::unique_ptr<Command> make_show_command();
[[nodiscard]] std::unique_ptr<Command> make_monitor_command();
[[nodiscard]] std::unique_ptr<Command> make_report_command();
[[nodiscard]] std::unique_ptr<Command> make_add_command();
[[nodiscard]] std::unique_ptr<Command> make_scan_command();
[[nodiscard]] std::unique_ptr<Command> make_wait_command();
[[nodiscard]] std::unique_ptr<Command> make_cancel_command();
[[nodiscard]] std::unique_ptr<Command> make_retry_command();
[[nodiscard]] std::unique_ptr<Command> make_pause_command();
[[nodiscard]] std::unique_ptr<Command> make_resume_command();
[[nodiscard]] std::unique_ptr<Command> make_reload_command();
[[nodiscard]] std::unique_ptr<Command> make_log_command();
[[nodiscard]] std::unique_ptr<Command> make_hook_command();
[[nodiscard]] std::unique_ptr<Command> make_settings_command();
[[nodiscard]] std::unique_ptr<Command> make_share_command();

}  // namespace vmad::ctl
