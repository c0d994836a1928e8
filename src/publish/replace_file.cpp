#include "publish/replace_file.hpp"

#include <fcntl.h>

#include <exception>
#include <stdexcept>
#include <utility>

#include "base/error.hpp"
#include "io/storage.hpp"

namespace vmad::publish {

using Phase = RecoveryRecord::Phase;

ReplaceFile::ReplaceFile(Remember, io::FileSystem& fs, ArchiveTarget original, RecordSink keep_record,
                         std::optional<std::uint64_t> reserve_bytes)
    : fs_(fs),
      original_(std::move(original)),
      keep_record_(std::move(keep_record)),
      reserve_bytes_(reserve_bytes),
      record_(new_recovery_record(original_.name, original_.identity)),
      tells_writers_(io::tells_writers(fs_, original_.directory)) {
    const auto status = fs_.status(original_.file);
    record_.access = access_of(status);
    if (!io::keeps_inode_numbers(fs_, original_.directory))
        record_.original.mark = mark_of(fs_, original_.file, status, MarkBy::content);
}

// By way of the other constructor, so that the destructor cleans up when the temporary file cannot be made.
ReplaceFile::ReplaceFile(io::FileSystem& fs, ArchiveTarget original, RecordSink keep_record,
                         std::optional<std::uint64_t> reserve_bytes)
    : ReplaceFile(Remember{}, fs, std::move(original), std::move(keep_record), reserve_bytes) {
    make_temporary();
}

ReplaceFile::~ReplaceFile() { abandon(); }

void ReplaceFile::abandon() noexcept {
    if (!has_name_ || finished_) return;
    finished_ = true;
    try {
        temporary_ = io::File();  // NFS would keep an open file, by a name of its own
        (void)finish_replacement(fs_, original_.directory, record_, Goal::restore_original, {});
    } catch (...) {
        // The record is durable: recover() will be called with it.
    }
}

void ReplaceFile::make_temporary() {
    const bool by_inode = record_.marked_by() == MarkBy::inode;
    // Where numbers do not last, an unnamed file can seldom be linked either; that would show too late.
    if (auto unnamed = by_inode ? fs_.open_unnamed(original_.directory) : std::nullopt) {
        temporary_ = std::move(*unnamed);
    } else {
        has_name_ = true;
        record(Phase::preparing);
        temporary_ =
            fs_.open_at(original_.directory, record_.temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
        if (by_inode) {
            record_.replacement.inode = fs_.status(temporary_).st_ino;
            record(Phase::preparing);
        }
    }
    // What verification and seal() will need, while the file is empty: nothing was read for it yet.
    std::byte none{};
    (void)io::read_fully_at(fs_, temporary_, {&none, 1}, 0);
    io::require_settable_metadata(fs_, original_.file, temporary_);
    fs_.sync(temporary_);
}

void ReplaceFile::record(Phase phase) {
    record_.phase = phase;
    keep_record_(record_);
}

void ReplaceFile::require_space(std::uint64_t more_bytes) {
    const auto& directory = original_.directory;
    io::require_space(fs_, directory, more_bytes,
                      reserve_bytes_ ? *reserve_bytes_ : io::default_reserve(fs_, directory));
}

void ReplaceFile::seal(const io::Attributes& extra) {
    io::copy_metadata(fs_, original_.file, temporary_, extra);
    const auto modified = modified_when_sealed();
    if (nanoseconds(modified) != nanoseconds(fs_.status(temporary_).st_mtim))
        fs_.set_modified(temporary_, modified);
    fs_.sync(temporary_);
    sealed_ = true;
}

timespec ReplaceFile::modified_when_sealed() {
    const auto original = fs_.status(original_.file);
    auto modified = original.st_mtim;
    if (original.st_size == fs_.status(temporary_).st_size) ++modified.tv_sec;
    return modified;
}

PublishOutcome ReplaceFile::publish(bool keep_original) {
    if (!sealed_ || finished_) throw std::logic_error("ReplaceFile::publish is for once, after seal");
    // vzdump does not make its archives durable. Should a power cut take the tail of the original after the
    // swap, it would not be known again beside our copy, and be put back as somebody else's.
    io::sync_where_known(fs_, original_.file);
    record_.replacement = mark_of_temporary();
    const bool was_named = std::exchange(has_name_, true);
    record(Phase::publishing);

    bool swapped = false;
    std::exception_ptr error;
    const bool may_swap = take_lease();
    try {
        if (!was_named && may_swap) fs_.link_unnamed(temporary_, original_.directory, record_.temporary);
        close_files();
        swapped = may_swap && swap();
    } catch (const base::Error&) {
        // A network file system may report an error for what it has done: the directory shows what happened.
        error = std::current_exception();
    }
    bool writes = !may_swap || has_writer();
    const auto goal = keep_original ? Goal::keep_original : Goal::remove_original;
    auto [state, warning] = finish(writes ? Goal::restore_original : goal, swapped, writes);
    finished_ = true;
    original_.file = io::File();  // who waits for the end of the lease finds the original in its place
    warning_ = std::move(warning);
    switch (state.name) {
        case ObservedFile::replacement:
            if (state.temporary != ObservedFile::original && state.old != ObservedFile::original)
                return PublishOutcome::published;
            // Finished and durable before it is recorded: from then on nobody restores the original. Until
            // then, recovery by the last record removes it.
            record(Phase::grace_period);
            return PublishOutcome::grace_period;
        case ObservedFile::absent:
            return PublishOutcome::vanished;
        case ObservedFile::foreign:
        case ObservedFile::same_file:
            return PublishOutcome::changed;
        case ObservedFile::original:
            break;
    }
    if (error) std::rethrow_exception(error);
    if (writes) return PublishOutcome::open_for_writing;
    if (!swapped) return PublishOutcome::changed;  // in its metadata, so what seal() copied is out of date
    throw base::Error("the file system reported success but did not replace " +
                      original_.directory.entry(record_.name));
}

FinishedReplacement ReplaceFile::finish(Goal goal, bool swapped, bool& writes) try {
    return finish_replacement(fs_, original_.directory, record_, goal,
                              [&] { return writes = writes || has_writer(); });
} catch (const io::NoSpace& error) {
    throw io::NoSpace(error.what() + what_is_in_place(swapped), error.number(), error.directory());
} catch (const base::SystemError& error) {
    throw base::SystemError(error.number(), error.what() + what_is_in_place(swapped));
} catch (const base::Error& error) {
    throw base::Error(error.what() + what_is_in_place(swapped));
}

/// The end of a sentence about an error, after an attempt to put the original back.
std::string ReplaceFile::what_is_in_place(bool swapped) {
    const auto path = original_.directory.entry(record_.name);
    abandon();
    try {
        const auto found = observe_file(fs_, original_.directory, record_.name, record_.marked_by());
        if (found && found->mark == record_.replacement) return "; " + path + " is the repacked archive";
        if (found && found->mark == record_.original.mark) return "; " + path + " is the original archive";
        return "; " + path + (found ? " is neither the original nor the repacked archive" : " is gone");
    } catch (const base::Error&) {
        return swapped ? "; the repacked archive had been put in place as " + path
                       : "; " + path +
                             " was not known to be replaced: it is the original or the repacked archive";
    }
}

FileMark ReplaceFile::mark_of_temporary() {
    const auto by = record_.marked_by();
    const auto open = mark_of(fs_, temporary_, fs_.status(temporary_), by);
    if (!has_name_) return open;
    // As a later look will see it: some file systems round a time only on its way to the server, and rclone
    // shows that of the last write until the file is closed.
    fs_.close(std::exchange(temporary_, io::File()));
    const auto found = observe_file(fs_, original_.directory, record_.temporary, by);
    if (!found || found->mark.inode != record_.replacement.inode || found->mark.content != open.content)
        throw base::Error(original_.directory.entry(record_.temporary) +
                          " was removed or replaced by somebody else");
    return found->mark;
}

// Who has opened the original before the swap, and writes after it, writes to a file that is removed; no look
// at a name tells. The kernel knows: it grants a read lease only while nobody has the file open for writing,
// and lets whoever opens it so wait for the end of the lease. What is left is who has looked the name up
// before the swap, and opens what was found only after has_writer() has asked for the last time.
bool ReplaceFile::take_lease() {
    if (!tells_writers_) return true;
    const auto lease = fs_.try_lease(original_.file);
    // A FUSE program may keep an open file by a name of its own: see close_files().
    has_lease_ = lease == io::Lease::held && record_.marked_by() == MarkBy::inode;
    return lease != io::Lease::open_for_writing;
}

bool ReplaceFile::has_writer() { return has_lease_ && fs_.is_lease_wanted(original_.file); }

/// The rename of an open file, or over one, is where NFS and CIFS are not atomic: NFS first moves the target
/// aside, and CIFS may be refused by the server.
void ReplaceFile::close_files() {
    if (temporary_) fs_.close(std::exchange(temporary_, io::File()));
    if (!has_lease_) fs_.close(std::exchange(original_.file, io::File()));
}

bool ReplaceFile::swap() {
    if (has_writer()) return false;
    const auto found = observe_file(fs_, original_.directory, record_.name, record_.marked_by());
    if (!found) return false;
    const FileIdentity identity{found->status.st_dev, found->mark, nanoseconds(found->status.st_ctim)};
    return identity == record_.original && (exchange() || rename_over(*found));
}

bool ReplaceFile::exchange() try {
    return fs_.exchange(original_.directory, record_.temporary, record_.name);
} catch (const base::SystemError& error) {
    if (io::is_refusal(error.number())) return false;
    throw;
}

// Unlike the exchange, this way has a window: between the last look and the rename the archive may be
//   - removed: the rename then brings it back, canonical;
//   - replaced: the rename then removes the other file;
//   - written to: with a hard link recover() finds that out and puts it back, without one it is lost.
// It is as long as two system calls, rename being the second; no file system that needs this way offers less.
bool ReplaceFile::rename_over(const SeenFile& first_look) {
    const auto& directory = original_.directory;
    link_original();
    record(Phase::renaming);
    const bool writes = has_writer();
    // Its content is not read again, for that would make the window longer.
    const auto found = observe_file(fs_, directory, record_.name, MarkBy::inode);
    if (writes || !found || !is_as_seen(*found, first_look)) {
        // Known again to be removed or changed by somebody else, not by half a rename.
        record(Phase::publishing);
        return false;
    }
    fs_.rename(directory, record_.temporary, record_.name);
    return true;
}

/// The link has changed the time of the last change, so that is not compared.
bool ReplaceFile::is_as_seen(const SeenFile& now, const SeenFile& before) const {
    auto mark = mark_of(before.status);
    if (record_.marked_by() == MarkBy::content) mark.inode = now.mark.inode;
    return now.mark == mark && access_of(now.status) == record_.access;
}

/// Gives the original its second name, where that can be had.
void ReplaceFile::link_original() {
    const auto& directory = original_.directory;
    try {
        if (!fs_.link(directory, record_.name, record_.old)) return;
    } catch (const base::Error&) {
        // Whatever the reason, it goes on as where there are no links. When it was made all the same, it is
        // found at the end.
    }
    const auto old = fs_.status_at(directory, record_.old);
    // Another number for a hard link: so numbers say nothing here, though the type of file system keeps them.
    if (old && record_.marked_by() == MarkBy::inode && old->st_ino != record_.original.mark.inode)
        mark_by_content();
}

void ReplaceFile::mark_by_content() {
    const auto& directory = original_.directory;
    const auto original = observe_file(fs_, directory, record_.name, MarkBy::content);
    const auto replacement = observe_file(fs_, directory, record_.temporary, MarkBy::content);
    // Whoever has changed one of them meanwhile is found by the next look.
    if (!original || !replacement || mark_of(original->status) != record_.original.mark ||
        mark_of(replacement->status) != record_.replacement)
        return;
    record_.original.mark = original->mark;
    record_.replacement = replacement->mark;
}

}  // namespace vmad::publish
