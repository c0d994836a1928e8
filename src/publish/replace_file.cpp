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
      record_(new_recovery_record(original_.name, original_.identity)) {}

// By way of the other constructor, so that the destructor cleans up when the temporary file cannot be made.
ReplaceFile::ReplaceFile(io::FileSystem& fs, ArchiveTarget original, RecordSink keep_record,
                         std::optional<std::uint64_t> reserve_bytes)
    : ReplaceFile(Remember{}, fs, std::move(original), std::move(keep_record), reserve_bytes) {
    make_temporary();
}

ReplaceFile::~ReplaceFile() {
    if (!has_name_ || finished_) return;
    try {
        temporary_ = io::File();  // NFS would keep an open file, by a name of its own
        (void)finish_replacement(fs_, original_.directory, record_, Goal::restore_original);
    } catch (...) {
        // The record is durable: recover() will be called with it.
    }
}

void ReplaceFile::make_temporary() {
    if (auto unnamed = fs_.open_unnamed(original_.directory)) {
        temporary_ = std::move(*unnamed);
        return;
    }
    has_name_ = true;
    record(Phase::preparing);
    temporary_ =
        fs_.open_at(original_.directory, record_.temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    record_.replacement.inode = fs_.status(temporary_).st_ino;
    record(Phase::preparing);
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
    fs_.sync(original_.file);
    record_.replacement = mark_of_temporary();
    const bool was_named = std::exchange(has_name_, true);
    record(Phase::publishing);

    bool swapped = false;
    std::exception_ptr error;
    try {
        if (!was_named) fs_.link_unnamed(temporary_, original_.directory, record_.temporary);
        close_files();
        swapped = swap();
    } catch (const base::Error&) {
        // A network file system may report an error for what it has done: the directory shows what happened.
        error = std::current_exception();
    }
    const auto state = finish_replacement(fs_, original_.directory, record_,
                                          keep_original ? Goal::keep_original : Goal::remove_original);
    finished_ = true;
    switch (state.name) {
        case ObservedFile::replacement:
            if (state.temporary == ObservedFile::absent && state.old == ObservedFile::absent)
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
    if (!swapped) return PublishOutcome::changed;  // in its metadata, so what seal() copied is out of date
    throw base::Error("the file system reported success but did not replace " +
                      original_.directory.entry(record_.name));
}

FileMark ReplaceFile::mark_of_temporary() {
    if (!has_name_) return mark_of(fs_.status(temporary_));
    // As a later look will see it: some file systems round a time only on its way to the server.
    const auto found = observe_file(fs_, original_.directory, record_.temporary);
    if (!found || found->st_ino != record_.replacement.inode)
        throw base::Error(temporary_.path() + " was removed or replaced by somebody else");
    return mark_of(*found);
}

/// The rename of an open file, or over one, is where NFS and CIFS are not atomic: NFS first moves the target
/// aside, and CIFS may be refused by the server.
void ReplaceFile::close_files() {
    fs_.close(std::exchange(temporary_, io::File()));
    fs_.close(std::exchange(original_.file, io::File()));
}

bool ReplaceFile::swap() {
    const auto& directory = original_.directory;
    const auto found = observe_file(fs_, directory, record_.name);
    if (!found || identity_of(*found) != record_.original) return false;
    return fs_.exchange(directory, record_.temporary, record_.name) || rename_over();
}

// Unlike the exchange, this way has a window: between the second look and the rename the archive may be
//   - removed: the rename then brings it back, canonical;
//   - replaced: the rename then removes the other file;
//   - written to: with a hard link recover() finds that out and puts it back, without one it is lost.
// It is as long as two system calls, rename being the second; no file system that needs this way offers less.
bool ReplaceFile::rename_over() {
    const auto& directory = original_.directory;
    (void)fs_.link(directory, record_.name, record_.old);  // not to be had everywhere
    record(Phase::renaming);
    const auto found = observe_file(fs_, directory, record_.name);
    // The link has changed the time of the last change, so that is not compared.
    if (!found || mark_of(*found) != record_.original.mark) {
        // Known again to be removed or changed by somebody else, not by half a rename.
        record(Phase::publishing);
        return false;
    }
    fs_.rename(directory, record_.temporary, record_.name);
    return true;
}

}  // namespace vmad::publish
