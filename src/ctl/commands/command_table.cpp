#include "ctl/commands/command.hpp"

namespace vmad::ctl {

const std::vector<CommandEntry>& command_table() {
    static const std::vector<CommandEntry> table{
        {"status", "What the daemon does and has done", make_status_command},
        {"list", "The jobs of the queue", make_list_command},
        {"show", "Everything about jobs", make_show_command},
        {"monitor", "Changes of jobs as they happen", make_monitor_command},
        {"add", "Queue archives", make_add_command},
        {"scan", "Queue archives that are not canonical yet", make_scan_command},
        {"wait", "Wait until jobs have ended", make_wait_command},
        {"cancel", "Give jobs up", make_cancel_command},
        {"retry", "Queue jobs again", make_retry_command},
        {"pause", "Start no more jobs", make_pause_command},
        {"resume", "Start jobs again", make_resume_command},
        {"reload", "Have the daemon read its settings again", make_reload_command},
        {"log", "What the journal says", make_log_command},
        {"hook", "Have vzdump tell vmad of each backup", make_hook_command},
        {"settings", "Check and show the daemon's settings", make_settings_command},
        {"info", "What an archive is, from its headers", make_info_command},
        {"verify", "Check every byte of archives", make_verify_command},
        {"repack", "Make archives canonical", make_repack_command},
        {"extract", "Restore disks and configs as files", make_extract_command},
    };
    return table;
}

}  // namespace vmad::ctl
