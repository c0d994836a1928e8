// Files of a directory of backups that are open: archives as their raw form, others as they are. Each is open
// once, however often it was opened here.
//
// What an archive takes to be read (its index, decoded frames, threads) is made when it is first read, and
// only the ones read last keep it: a program may hold hundreds open. Any thread.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <mutex>

#include "access/raw_view.hpp"
#include "mount/dump_folder.hpp"

namespace vmad::mount {

class OpenSources {
  public:
    /// Memory for decoded frames, of all archives together.
    OpenSources(io::FileSystem& fs, std::uint64_t memory_bytes);

    /// Opens once more what is open; null when it is not.
    [[nodiscard]] std::unique_ptr<OpenFile> open(Inode inode);
    /// `file` is the one that `shown` tells of.
    [[nodiscard]] std::unique_ptr<OpenFile> open(io::File file, const ShownFile& shown);
    /// Of what is open, whatever became of its name.
    [[nodiscard]] std::optional<Attributes> attributes(Inode inode);

  private:
    class Source;
    class Opening;

    [[nodiscard]] std::shared_ptr<Source> find(Inode inode);
    /// What reads the archive, which is read next.
    [[nodiscard]] std::shared_ptr<access::RawView> view_of(Source& archive);
    void forget(Source& source) noexcept;

    io::FileSystem& fs_;
    const std::uint64_t max_views_;
    const std::uint64_t view_bytes_;
    std::mutex mutex_;
    std::map<Inode, std::weak_ptr<Source>> sources_;
    std::list<Source*> recent_;  ///< archives that have a view, the one read last at the front
};

}  // namespace vmad::mount
