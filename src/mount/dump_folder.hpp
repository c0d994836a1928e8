// What a directory of backups has that a view of it shows, looked up again when it is asked for after a
// second.
//
// Each canonical archive as the raw `.vma` that it is repacked to; vzdump's notes, logs and protection marks,
// and backups of containers, as they are. Archives that cannot be read at any offset are left out: those that
// were not repacked yet, and those in gzip and lzo. Nothing below the directory is looked at. Any thread.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "io/file_system.hpp"
#include "mount/file_tree.hpp"

namespace vmad::mount {

/// How long what was found in a directory is taken to be so.
inline constexpr double kListingValidSeconds = 1;

struct ShownFile {
    std::string source_name;  ///< in the directory
    std::string version;      ///< publish::file_version()
    Attributes attributes;
    bool is_archive = false;  ///< shown as its raw form, which has another size than the file
};

/// What there was at one moment.
struct Listing {
    timespec modified{};
    std::map<std::string, ShownFile, std::less<>> files;  ///< by the name that they are shown by
    std::map<Inode, const ShownFile*> by_inode;
    std::size_t archives = 0;                 ///< that are shown
    std::vector<std::string> not_repacked{};  ///< archives that are not shown
    std::vector<std::string> not_seekable{};  ///< these neither: in gzip or lzo
};

class DumpFolder {
  public:
    using Warn = std::function<void(const std::string&)>;

    /// `path` is absolute. `name` tells the folders of a view apart, and is empty for one that is all of it:
    /// inode numbers depend on it, and on what is shown. `warn` is called in any thread, with what is not
    /// shown and why; perhaps more than once. Throws base::SystemError.
    DumpFolder(io::FileSystem& fs, std::string name, const std::string& path, Warn warn);

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    [[nodiscard]] Inode inode() const noexcept { return inode_; }

    /// What there is now, or was a second ago. Throws base::Error when the directory cannot be read, or what
    /// was mounted there is not any longer.
    [[nodiscard]] std::shared_ptr<const Listing> listing();
    /// What was last found, or null: nothing is looked at.
    [[nodiscard]] std::shared_ptr<const Listing> last_listing() const;
    /// Nothing when another file, or none, has its name now; the next listing() has that.
    [[nodiscard]] std::optional<io::File> open(const ShownFile& file);

  private:
    using Clock = std::chrono::steady_clock;
    enum class Form { raw_view, not_repacked, not_seekable, unreadable };
    /// What an archive was found to be.
    struct Verdict {
        std::string version;
        Form form = Form::unreadable;
        std::uint64_t size_bytes = 0;  ///< of the view
    };

    [[nodiscard]] std::shared_ptr<const Listing> look();
    void require_mounted() const;
    void add_archive(const io::File& directory, const std::string& name, const struct stat& status,
                     Listing& listing);
    [[nodiscard]] const Verdict& verdict_on(const io::File& directory, const std::string& name,
                                            const std::string& version);
    [[nodiscard]] Verdict judge(const io::File& directory, const std::string& name) const;
    void add(const std::string& shown_name, ShownFile file, Listing& listing) const;

    io::FileSystem& fs_;
    const std::string name_;
    const std::string path_;         ///< without symbolic links
    const std::string mount_point_;  ///< that it is on
    const Inode inode_;
    const Warn warn_;
    mutable std::mutex listing_mutex_;  ///< of the next two
    std::shared_ptr<const Listing> listing_;
    Clock::time_point valid_until_{};
    std::mutex look_mutex_;                    ///< held while the directory is looked at; of the next
    std::map<std::string, Verdict> verdicts_;  ///< by name in the directory
};

}  // namespace vmad::mount
