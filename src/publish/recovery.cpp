#include "publish/recovery.hpp"

#include <fcntl.h>

#include <cerrno>

#include <fmt/format.h>

#include "base/error.hpp"

namespace vmad::publish {
namespace {

using Phase = RecoveryRecord::Phase;

/// The longest case takes four steps; more only happen when somebody else moves the same files.
constexpr int kMaxRounds = 16;

void sync_directory(io::FileSystem& fs, const io::File& directory) {
    try {
        fs.sync(directory);
    } catch (const base::SystemError& error) {
        // Some network and FUSE file systems know no fsync of a directory; they have nothing to write out.
        if (error.number() != EINVAL) throw;
    }
}

class Recovery {
  public:
    Recovery(io::FileSystem& fs, const io::File& directory, const RecoveryRecord& record)
        : fs_(fs), directory_(directory), record_(record) {}

    [[nodiscard]] DirectoryState observe() const {
        const auto name = find(record_.name);
        const auto observe_beside = [&](const std::string& other) {
            const auto found = find(other);
            return name && found && name->st_ino == found->st_ino ? ObservedFile::same_file
                                                                  : classify(found, other);
        };
        return {classify(name, record_.name), observe_beside(record_.temporary), observe_beside(record_.old)};
    }

    void act(Step step) const {
        switch (step) {
            case Step::none:
                return;
            case Step::exchange_back:
                if (!fs_.exchange(directory_, record_.temporary, record_.name)) refuse_unexpected_file();
                return;
            case Step::put_back_temporary:
                return fs_.rename(directory_, record_.temporary, record_.name);
            case Step::put_back_old:
                return fs_.rename(directory_, record_.old, record_.name);
            case Step::remove_temporary:
                fs_.unlink(directory_, record_.temporary);
                return;
            case Step::remove_old:
                fs_.unlink(directory_, record_.old);
                return;
        }
    }

    [[noreturn]] void refuse_unexpected_file() const {
        throw base::Error(
            fmt::format("{} or {} beside it is an unexpected file, not created by vmad: "
                        "check whether it should be restored as {}, then move or remove it",
                        directory_.entry(record_.temporary), record_.old, record_.name));
    }

    [[noreturn]] void refuse_unstable() const {
        throw base::Error(
            fmt::format("{} keeps changing: another process is renaming it", directory_.entry(record_.name)));
    }

  private:
    /// What may be one of the two files is looked at closely.
    [[nodiscard]] std::optional<struct stat> find(const std::string& name) const {
        const auto listed = fs_.status_at(directory_, name);
        const bool is_known = listed && (listed->st_ino == record_.original.mark.inode ||
                                         listed->st_ino == record_.replacement.inode);
        return is_known ? observe_file(fs_, directory_, name) : listed;
    }

    [[nodiscard]] ObservedFile classify(const std::optional<struct stat>& found,
                                        const std::string& name) const {
        if (!found) return ObservedFile::absent;
        if (!S_ISREG(found->st_mode)) return ObservedFile::foreign;
        const auto mark = mark_of(*found);
        if (mark == record_.original.mark) return ObservedFile::original;
        return is_ours(mark, name) ? ObservedFile::replacement : ObservedFile::foreign;
    }

    [[nodiscard]] bool is_ours(const FileMark& mark, const std::string& name) const {
        if (record_.phase != Phase::preparing) return mark == record_.replacement;
        // Still being written, so its size says nothing; and nobody has put it anywhere else yet.
        if (name != record_.temporary) return false;
        if (record_.replacement.inode != 0) return mark.inode == record_.replacement.inode;
        // Made, but the crash came before its inode was recorded: then it is empty.
        return mark.size_bytes == 0;
    }

    io::FileSystem& fs_;
    const io::File& directory_;
    const RecoveryRecord& record_;
};

/// The original, or nothing, is at both names beside our replacement.
bool may_keep_original(const DirectoryState& state) {
    const auto may_stay = [](ObservedFile file) {
        return file == ObservedFile::absent || file == ObservedFile::original;
    };
    return state.name == ObservedFile::replacement && may_stay(state.temporary) && may_stay(state.old);
}

bool is_alone(const DirectoryState& state) {
    return state.temporary == ObservedFile::absent && state.old == ObservedFile::absent;
}

RecoveryOutcome outcome_of(const DirectoryState& state) {
    switch (state.name) {
        case ObservedFile::replacement:
            return RecoveryOutcome::published;
        case ObservedFile::original:
            return RecoveryOutcome::not_published;
        case ObservedFile::absent:
            return RecoveryOutcome::vanished;
        case ObservedFile::foreign:
        case ObservedFile::same_file:
            return RecoveryOutcome::changed;
    }
    return RecoveryOutcome::changed;
}

// The swap has been durable for long, and whatever the name holds by now, somebody meant it so: nothing comes
// back. Only the original goes; even a file of ours could be there only because somebody has put it there.
Step decide_in_grace_period(const DirectoryState& state) {
    const auto may_go = [](ObservedFile file) {
        return file == ObservedFile::original || file == ObservedFile::same_file;
    };
    if (may_go(state.temporary)) return Step::remove_temporary;
    if (may_go(state.old)) return Step::remove_old;
    return Step::none;
}

}  // namespace

// The rules, in order; the first that fits is taken. A foreign file is never removed.
Step decide(const DirectoryState& state, Phase phase, Goal goal) noexcept {
    if (phase == Phase::grace_period) return decide_in_grace_period(state);
    const auto& [name, temporary, old] = state;
    const auto is_known = [](ObservedFile file) {
        return file == ObservedFile::replacement || file == ObservedFile::original;
    };

    // One of two names of a file can go: the file stays.
    if (temporary == ObservedFile::same_file) return Step::remove_temporary;
    if (old == ObservedFile::same_file) return Step::remove_old;

    if (name == ObservedFile::replacement) {
        // The swap took somebody else's file, put there in the last moment: it goes back.
        if (temporary == ObservedFile::foreign) return Step::exchange_back;
        if (old == ObservedFile::foreign) return Step::put_back_old;
        // The swap went well. Here, and in decide_in_grace_period(), the original is removed from beside a
        // good copy.
        const bool keep = goal == Goal::keep_original;
        const bool give_back = goal == Goal::restore_original;
        if (temporary == ObservedFile::original)
            return keep ? Step::none : give_back ? Step::exchange_back : Step::remove_temporary;
        if (old == ObservedFile::original)
            return keep ? Step::none : give_back ? Step::put_back_old : Step::remove_old;
    }

    if (name == ObservedFile::absent && phase != Phase::preparing) {
        // Somebody else's file was swapped out, and our copy removed in its place: it was not meant.
        if (temporary == ObservedFile::foreign) return Step::put_back_temporary;
        if (old == ObservedFile::foreign) return Step::put_back_old;
        // NFS and CIFS may remove the target of a rename before they move the source. When that stopped half
        // way, nobody pruned the archive. (Once the rename is done, the temporary name is gone.)
        if (phase == Phase::renaming && temporary == ObservedFile::replacement)
            return old == ObservedFile::original ? Step::put_back_old : Step::put_back_temporary;
    }

    // What is left: the original at its name, a foreign file at it, or nothing, because it was pruned. What
    // was ours or the original beside it is not needed any more.
    if (is_known(temporary)) return Step::remove_temporary;
    if (is_known(old)) return Step::remove_old;
    return Step::none;
}

std::optional<struct stat> observe_file(io::FileSystem& fs, const io::File& directory,
                                        const std::string& name) {
    const auto found = fs.status_at(directory, name);
    if (!found || !S_ISREG(found->st_mode)) return found;
    try {
        const auto file = fs.open_at(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
        return fs.status(file);
    } catch (const base::SystemError& error) {
        // Removed in between; unless it is still listed: after a rename that failed half way on CIFS, a file
        // may be about to disappear and cannot be opened any more. Nothing is decided by such a file; it is
        // an error of the moment, unlike a file that is not there.
        if (error.number() != ENOENT) throw;
        if (!fs.status_at(directory, name)) return std::nullopt;
        throw base::SystemError(EBUSY, "open", directory.entry(name));
    }
}

DirectoryState finish_replacement(io::FileSystem& fs, const io::File& directory, const RecoveryRecord& record,
                                  Goal goal) {
    const Recovery recovery(fs, directory, record);
    for (int round = 0; round < kMaxRounds; ++round) {
        // First of all: nothing is removed because of a name that a power cut could still take back.
        sync_directory(fs, directory);
        const auto state = recovery.observe();
        const auto step = decide(state, record.phase, goal);
        if (step == Step::none) {
            const bool is_final =
                is_alone(state) || (goal == Goal::keep_original && may_keep_original(state));
            if (!is_final) recovery.refuse_unexpected_file();
            return state;
        }
        recovery.act(step);
    }
    recovery.refuse_unstable();
}

RecoveryOutcome recover(io::FileSystem& fs, const io::File& directory, const RecoveryRecord& record) {
    return outcome_of(finish_replacement(fs, directory, record, Goal::remove_original));
}

}  // namespace vmad::publish
