#include "ctl/commands/command.hpp"

#include <cerrno>

#include <fmt/format.h>

#include "api/queue_client.hpp"
#include "settings/settings.hpp"

namespace vmad::ctl {

api::QueueClient Context::daemon(std::chrono::milliseconds limit) const {
    try {
        return api::QueueClient(options.socket.empty() ? settings::Places().socket() : options.socket, limit);
    } catch (const base::SystemError& error) {
        if (error.number() != EACCES) throw;
        throw base::Error(fmt::format("{}: run as root", error.what()));
    }
}

const std::vector<CommandEntry>& command_table() {
    static const std::vector<CommandEntry> table{
        {"status", "Show the daemon's status", make_status_command},
        {"list", "Show the queue", make_list_command},
        {"show", "Show jobs in detail", make_show_command},
        {"monitor", "Show changes of jobs as they happen", make_monitor_command},
        {"report", "Report sizes, growth and problems of backups", make_report_command},
        {"add", "Queue archives", make_add_command},
        {"scan", "Find and queue archives that are not canonical", make_scan_command},
        {"wait", "Wait for jobs to finish", make_wait_command},
        {"cancel", "Cancel jobs or acknowledge failures", make_cancel_command},
        {"retry", "Retry jobs", make_retry_command},
        {"pause", "Pause the queue", make_pause_command},
        {"resume", "Resume the queue", make_resume_command},
        {"reload", "Reload the daemon's settings", make_reload_command},
        {"log", "Show the log of jobs", make_log_command},
        {"hook", "Enable, disable or show vmad's hook for vzdump", make_hook_command},
        {"settings", "Check or show the daemon's settings", make_settings_command},
        {"info", "Show an archive's header", make_info_command},
        {"verify", "Verify archives", make_verify_command},
        {"repack", "Repack archives into canonical form", make_repack_command},
        {"repair", "Repair an archive out of other backups", make_repair_command},
        {"share", "Let backups share the blocks they have in common", make_share_command},
        {"extract", "Extract disks and configs as files", make_extract_command},
        {"diff", "Compare two archives", make_diff_command},
        {"ls", "List the volumes in an archive, or files on them", make_ls_command},
        {"cp", "Copy files out of the disks in an archive", make_cp_command},
        {"mount", "Mount disks and configs as read-only files", make_mount_command},
        {"umount", "Unmount an archive", make_umount_command},
        {"create", "Create an archive from disk images and configs", make_create_command},
        {"config", "Show or replace configs of an archive", make_config_command},
    };
    return table;
}

}  // namespace vmad::ctl
