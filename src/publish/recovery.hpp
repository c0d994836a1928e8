// How a replacement is finished: observe the names in the directory, decide, act, until nothing is left to
// do.
//
// The same few rules serve a replacement that went well, one that met an error, and one that a crash or a
// power cut stopped anywhere. They go by what the directory holds, never by what a call returned. Whoever
// calls holds the archive's InodeLock.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "io/file_system.hpp"
#include "publish/recovery_record.hpp"

namespace vmad::publish {

/// What the archive's name holds after recovery.
enum class RecoveryOutcome {
    published,      ///< our replacement
    not_published,  ///< the original, as it was
    changed,        ///< something else: written to, or replaced, by somebody else
    vanished,       ///< nothing: it was removed, and stays so
};

/// What one of the three names holds.
enum class ObservedFile {
    absent,
    replacement,
    original,
    foreign,    ///< neither, or one of them but written to since
    same_file,  ///< of temporary and old only: another name of the file at the archive's name
};

/// What the names hold that a replacement uses.
struct DirectoryState {
    ObservedFile name = ObservedFile::absent;
    ObservedFile temporary = ObservedFile::absent;
    ObservedFile old = ObservedFile::absent;
};

/// What becomes of the original when the replacement is in place. Does not matter in the phase
/// `grace_period`: then it is removed.
enum class Goal {
    remove_original,
    keep_original,     ///< by the name of ours that it has, if it has one
    restore_original,  ///< if it is still there
};

enum class Step {
    none,                ///< nothing is left to do
    exchange_back,       ///< archive and temporary name
    put_back_temporary,  ///< rename it to the archive's name
    put_back_old,        ///< rename it to the archive's name
    remove_temporary,
    remove_old,
};

/// The next step. The rules are where it is defined.
[[nodiscard]] Step decide(const DirectoryState& state, RecoveryRecord::Phase phase, Goal goal) noexcept;

/// A file as it was seen at a name.
struct SeenFile {
    struct stat status;
    FileMark mark;  ///< what is not a regular file has one by inode
};

/// The file at a name now, opened without following links, because a network file system may answer a plain
/// stat from a cache. What is not a regular file is not opened. Nothing when there is none; throws when it is
/// listed but cannot be opened.
[[nodiscard]] std::optional<SeenFile> observe_file(io::FileSystem& fs, const io::File& directory,
                                                   const std::string& name, MarkBy by);

/// What finish_replacement() leaves.
struct FinishedReplacement {
    DirectoryState state;
    /// Names a file that is left beside the archive because it may be somebody else's, and says what to do;
    /// or empty.
    std::string warning;
};

/// Brings `directory`, the archive's, from wherever `record` was left to a state in which nothing is left to
/// do, and returns it. When it returns, the names are durable, and nothing of ours is beside the archive, but
/// for an original that Goal::keep_original keeps. A file under one of our names that is not known to be ours
/// is left alone, and warned of. Owner and permissions that the original was given in the last moment go to
/// the replacement. It may fail or be killed at any point and be called again, any number of times. Throws
/// base::Error when a call fails.
///
/// `has_writer` is asked last before an original is removed. Once it says that somebody has that open for
/// writing, the goal is to restore it.
[[nodiscard]] FinishedReplacement finish_replacement(io::FileSystem& fs, const io::File& directory,
                                                     const RecoveryRecord& record, Goal goal,
                                                     const std::function<bool()>& has_writer);

/// How recovery ended, and FinishedReplacement::warning.
struct RecoveryResult {
    RecoveryOutcome outcome;
    std::string warning;
};

/// The same after a crash or an error: a replacement that is in place stays, and the original goes, unless
/// another process has that open for writing. Whoever waited for the end of a lease that the crash took goes
/// on by now.
RecoveryResult recover(io::FileSystem& fs, const io::File& directory, const RecoveryRecord& record);

}  // namespace vmad::publish
