// What a node has that decides whether vzdump announces backups to vmad: /etc/vzdump.conf, the hook, the
// scripts that the hook runs, and backup jobs with a script of their own. It looks, and changes nothing: that
// is hook_setup.hpp. One thread.
//
// Every path is one of the node's, absolute, and found as the node itself would find it: below the root
// directory, symbolic links included.
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>
#include <vector>

#include "io/file_system.hpp"
#include "pve/backup_jobs.hpp"

namespace vmad::pve {

/// vzdump's `script`, when vmad is to hear of backups.
inline constexpr char kHookScript[] = "/etc/vmad/vzdump-hook";
/// The hook runs what is in here, in the order of names.
inline constexpr char kHookDirectory[] = "/etc/vmad/hook.d";
/// The entry there that is the script which vzdump ran before.
inline constexpr char kEarlierScriptName[] = "00-vzdump-script";
/// What kVzdumpConfigFile held before.
inline constexpr char kConfigBackupFile[] = "/etc/vzdump.conf.before-vmad";

/// An entry of kHookDirectory.
struct HookScript {
    std::string name;
    std::string target;    ///< of a symbolic link; else empty
    std::string obstacle;  ///< why it is not run: "is missing", for example; empty when it is
};

class HookNode {
  public:
    /// `root` is empty for this host itself. Throws base::SystemError when there is no such directory.
    HookNode(io::FileSystem& fs, std::string root);

    [[nodiscard]] io::FileSystem& fs() const noexcept { return fs_; }
    /// A path of the node as others see it, for messages.
    [[nodiscard]] std::string shown(const std::string& path) const { return root_ + path; }
    /// Nothing when there is no such file; see open(2) for the flags.
    [[nodiscard]] std::optional<io::File> find(const std::string& path, int flags) const;
    /// The content of a regular file; nothing when there is none.
    [[nodiscard]] std::optional<std::string> read(const std::string& path) const;

    /// What keeps a file from being run: "is missing", "is not a regular file", "is not executable"; empty
    /// when nothing does.
    [[nodiscard]] std::string obstacle(const std::string& path) const;
    /// True when the script is kHookScript, by whatever path.
    [[nodiscard]] bool is_hook(const std::string& script) const;
    /// True when it is, or when its text shows that it calls the hook. A script that cannot be read does not.
    [[nodiscard]] bool tells_vmad(const std::string& script) const;

    /// What vzdump runs by its configuration; empty when it runs nothing.
    [[nodiscard]] std::string script() const;
    /// The visible entries of kHookDirectory in the order in which they are run.
    [[nodiscard]] std::vector<HookScript> scripts() const;
    /// True when one of those, other than kEarlierScriptName, is this script.
    [[nodiscard]] bool is_in_hook_directory(const std::string& script) const;

    /// Those with a script of their own. Throws base::Error when the file cannot be read.
    [[nodiscard]] BackupJobs jobs() const;
    /// Those of jobs() that run here and do not announce backups to vmad.
    [[nodiscard]] BackupJobs overriding_jobs() const;

  private:
    [[nodiscard]] std::optional<struct stat> status(const std::string& path) const;
    [[nodiscard]] bool is_same_file(const std::string& a, const std::string& b) const;
    [[nodiscard]] bool mentions_hook(const std::string& script) const;

    io::FileSystem& fs_;
    std::string root_;
    io::File directory_;
};

}  // namespace vmad::pve
