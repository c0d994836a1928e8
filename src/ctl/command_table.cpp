#include "ctl/command.hpp"

namespace vmad::ctl {

const std::vector<CommandEntry>& command_table() {
    static const std::vector<CommandEntry> table{
        {"status", "What the daemon does and has done", make_status_command},
        {"add", "Queue archives", make_add_command},
        {"wait", "Wait until jobs have ended", make_wait_command},
        {"info", "What an archive is, from its headers", make_info_command},
        {"verify", "Check every byte of archives", make_verify_command},
        {"repack", "Make archives canonical", make_repack_command},
        {"extract", "Restore disks and configs as files", make_extract_command},
    };
    return table;
}

}  // namespace vmad::ctl
