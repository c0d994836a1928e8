// A model of what a power cut leaves of one directory, on top of a real one.
//
// Written data is lost unless the file was synced after; changes of names are lost unless the directory was
// synced after, each as a whole, any of them. That is less than real file systems promise. The inodes keep
// their numbers, because records name them: each file that was ever in the directory is kept alive by a
// second name in a vault beside it (and the link counts shown are one lower than they are).
#pragma once

#include <fcntl.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "support/fault_file_system.hpp"
#include "support/temporary_directory.hpp"

namespace vmad::fault {

/// Thrown by every call from the cut on. Not an Error: nothing may deal with it.
struct PowerCut {};

/// What becomes of data that was written and not synced.
enum class UnsyncedData { lost, zeroed, kept };

class PowerCutFileSystem : public support::FaultFileSystem {
  public:
    /// What is durable.
    struct State {
        std::map<std::string, ino_t> names;
        struct Content {
            std::string data;
            timespec modified;
        };
        std::map<ino_t, Content> contents;
    };

    /// Takes what `directory` holds now for durable. `vault` is on the same file system.
    PowerCutFileSystem(const support::TemporaryDirectory& directory,
                       const support::TemporaryDirectory& vault);

    /// The power is cut just before the n-th call from now.
    void cut_before(unsigned n);

    /// How many changes of names are not durable yet.
    [[nodiscard]] unsigned pending() const { return static_cast<unsigned>(pending_.size()); }

    /// What a cut now would leave; of the pending changes those whose bit is set in `kept` were written in
    /// time. Changes nothing.
    [[nodiscard]] State after_cut(unsigned kept, UnsyncedData data) const;

    /// Makes the directory this, all of it durable, and ends a power cut.
    void reset(const State& state);

    /// The content of this file was never synced.
    void forget_content(const std::string& name) { durable_.contents.erase(durable_.names.at(name)); }

    std::optional<io::File> open_unnamed(const io::File& directory) override;
    io::File open_at(const io::File& directory, const std::string& name, int flags, mode_t mode) override;
    void sync(const io::File& file) override;
    void link_unnamed(const io::File& file, const io::File& directory, const std::string& name) override;
    bool link(const io::File& directory, const std::string& from, const std::string& to) override;
    void rename(const io::File& directory, const std::string& from, const std::string& to) override;
    bool exchange(const io::File& directory, const std::string& a, const std::string& b) override;
    bool unlink(const io::File& directory, const std::string& name) override;
    struct stat status(const io::File& file) override;

  private:
    /// The entries that one operation changes, all or none: a name and its new file, or none.
    using Change = std::map<std::string, std::optional<ino_t>>;

    static void apply(const Change& change, State& state);
    [[nodiscard]] std::optional<ino_t> inode_of(const std::string& name) const;
    [[nodiscard]] std::string in_vault(ino_t inode) const { return vault_ / std::to_string(inode); }
    void keep_alive(int fd);
    [[nodiscard]] State::Content content_of(ino_t inode) const;

    const support::TemporaryDirectory& directory_;
    const support::TemporaryDirectory& vault_;
    State durable_;
    std::vector<Change> pending_;
};

}  // namespace vmad::fault
