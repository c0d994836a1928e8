// Replaces an archive by a new one such that at any crash, full disk or I/O error its name holds either the
// whole old file or the whole new one, and such that a file that was removed meanwhile does not come back
// (but for the window that the plain rename has where nothing better is to be had, see replace_file.cpp).
//
// The way: construct, write temporary(), seal(), verify temporary(), publish(). Whoever does not get that far
// just destroys it: the old file is as it was. Whoever is killed, or gets an exception from here, calls
// recover() with the last record that was kept before the next try. One thread; the caller holds the
// InodeLock.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "io/file_metadata.hpp"
#include "io/file_system.hpp"
#include "publish/archive_target.hpp"
#include "publish/recovery.hpp"
#include "publish/recovery_record.hpp"

namespace vmad::publish {

/// Keeps a record, and returns when it is durable. What it throws ends the replacement.
using RecordSink = std::function<void(const RecoveryRecord&)>;

/// How a replacement went, and what the archive's name holds.
enum class PublishOutcome {
    published,     ///< the replacement; the original is gone
    grace_period,  ///< the replacement; the original is kept beside it
    changed,       ///< what somebody else wrote or put there meanwhile
    vanished,      ///< nothing: it was removed meanwhile, and stays so
    /// The original: another process has it open for writing, and would go on writing to a file that is gone.
    open_for_writing,
};

class ReplaceFile {
  public:
    /// Makes the temporary file in the original's directory: without a name where that can be. Throws when it
    /// cannot be given the owner, the permissions and the time of the original, or cannot be made durable:
    /// before anything was read. `fs` outlives this. `reserve_bytes` is what require_space() leaves free,
    /// io::default_reserve() when not given.
    ReplaceFile(io::FileSystem& fs, ArchiveTarget original, RecordSink keep_record,
                std::optional<std::uint64_t> reserve_bytes = std::nullopt);
    ReplaceFile(const ReplaceFile&) = delete;
    ReplaceFile& operator=(const ReplaceFile&) = delete;
    /// Abandons what was not published: the old file as it was, the temporary file gone. Never throws.
    ~ReplaceFile();

    [[nodiscard]] const io::File& directory() const noexcept { return original_.directory; }
    /// Open for reading until publish().
    [[nodiscard]] const io::File& original() const noexcept { return original_.file; }
    /// Open for reading and writing until publish(); not to be written to after seal().
    [[nodiscard]] const io::File& temporary() const noexcept { return temporary_; }

    /// Throws io::NoSpace unless `more_bytes` can still be written above the reserve. To be called before the
    /// first byte and every now and then.
    void require_space(std::uint64_t more_bytes);

    /// The modification time that seal() gives: the original's, or one second later when the sizes are equal,
    /// or rsync would take the two for the same. To be called when the content is complete.
    [[nodiscard]] timespec modified_when_sealed();

    /// The content is complete: sets what io::copy_metadata() sets, and the modification time, and makes all
    /// durable.
    void seal(const io::Attributes& extra = {});

    /// Swaps the sealed file in. `keep_original`: the old file stays beside the new one where that can be;
    /// then `grace_period` is returned, and whoever wants it gone calls recover() with the last record.
    /// Throws the error for which the original is in place as it was; the error of a look after the swap says
    /// which of the two is. After `changed` and `open_for_writing` the archive is worth
    /// another try from the start.
    [[nodiscard]] PublishOutcome publish(bool keep_original = false);

    /// FinishedReplacement::warning of publish().
    [[nodiscard]] const std::string& warning() const noexcept { return warning_; }

  private:
    struct Remember {};
    ReplaceFile(Remember, io::FileSystem& fs, ArchiveTarget original, RecordSink keep_record,
                std::optional<std::uint64_t> reserve_bytes);
    void make_temporary();
    void abandon() noexcept;
    void record(RecoveryRecord::Phase phase);
    /// Closes it, when it has a name.
    [[nodiscard]] FileMark mark_of_temporary();
    /// False when somebody has the original open for writing.
    [[nodiscard]] bool take_lease();
    [[nodiscard]] bool has_writer();
    void close_files();
    /// False when the archive was found to be another, changed, or wanted by a writer, and nothing was
    /// swapped.
    [[nodiscard]] bool swap();
    /// `writes` becomes true when somebody turns out to have the original open for writing.
    [[nodiscard]] FinishedReplacement finish(Goal goal, bool swapped, bool& writes);
    [[nodiscard]] std::string what_is_in_place(bool swapped);
    [[nodiscard]] bool exchange();
    [[nodiscard]] bool rename_over(const SeenFile& first_look);
    [[nodiscard]] bool is_as_seen(const SeenFile& now, const SeenFile& before) const;
    void link_original();
    void mark_by_content();

    io::FileSystem& fs_;
    ArchiveTarget original_;
    RecordSink keep_record_;
    std::optional<std::uint64_t> reserve_bytes_;
    RecoveryRecord record_;
    io::File temporary_;
    bool tells_writers_;      ///< the file system, see io::tells_writers()
    bool has_lease_ = false;  ///< on the original, which then stays open until it was swapped
    bool has_name_ = false;   ///< the temporary file may have one
    bool sealed_ = false;
    bool finished_ = false;
    std::string warning_;
};

}  // namespace vmad::publish
