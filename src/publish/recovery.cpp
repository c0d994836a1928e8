#include "publish/recovery.hpp"

#include <fcntl.h>

#include <cerrno>

#include <fmt/format.h>

#include "base/error.hpp"
#include "io/file_metadata.hpp"
#include "publish/archive_writer.hpp"

namespace vmad::publish {
namespace {

using Phase = RecoveryRecord::Phase;

/// The longest case takes four steps; more only happen when somebody else moves the same files.
constexpr int kMaxRounds = 16;

class Recovery {
  public:
    Recovery(io::FileSystem& fs, const io::File& directory, const RecoveryRecord& record)
        : fs_(fs), directory_(directory), record_(record) {}

    /// What the names hold now.
    [[nodiscard]] DirectoryState observe() {
        name_ = find(record_.name);
        temporary_ = find(record_.temporary);
        old_ = find(record_.old);
        return {classify(name_, record_.name), classify_beside(temporary_, record_.temporary),
                classify_beside(old_, record_.old)};
    }

    void act(Step step) const {
        switch (step) {
            case Step::none:
                return;
            case Step::exchange_back:
                // Where that cannot be had any more, what was exchanged goes: ours.
                if (!fs_.exchange(directory_, record_.temporary, record_.name))
                    fs_.rename(directory_, record_.temporary, record_.name);
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

    /// An original that was swapped out may have been given another owner or other permissions between the
    /// last look at it and the swap. `state` was observed last.
    void keep_access(const DirectoryState& state) const {
        if (record_.phase == Phase::grace_period || state.name != ObservedFile::replacement) return;
        if (state.temporary == ObservedFile::original) keep_access_of(*temporary_, record_.temporary);
        if (state.old == ObservedFile::original) keep_access_of(*old_, record_.old);
    }

    /// Of a final state.
    [[nodiscard]] std::string warning(const DirectoryState& state, Goal goal) const {
        const bool may_keep = goal == Goal::keep_original && state.name == ObservedFile::replacement;
        std::string strays;
        const auto add = [&](ObservedFile file, const std::string& name) {
            if (file == ObservedFile::absent || (may_keep && file == ObservedFile::original)) return;
            strays += (strays.empty() ? "" : " and ") + directory_.entry(name);
        };
        add(state.temporary, record_.temporary);
        add(state.old, record_.old);
        if (strays.empty()) return {};
        return fmt::format(
            "{} is left beside {}, because it may not be vmad's: check whether it should be "
            "restored under that name, then move or remove it",
            strays, record_.name);
    }

    [[noreturn]] void refuse_unstable() const {
        throw base::Error(
            fmt::format("{} keeps changing: another process is renaming it", directory_.entry(record_.name)));
    }

  private:
    /// What may be one of the two files is looked at closely.
    [[nodiscard]] std::optional<SeenFile> find(const std::string& name) const {
        if (record_.marked_by() == MarkBy::content)
            return observe_file(fs_, directory_, name, MarkBy::content);
        const auto listed = fs_.status_at(directory_, name);
        if (!listed) return std::nullopt;
        const bool is_known =
            listed->st_ino == record_.original.mark.inode || listed->st_ino == record_.replacement.inode;
        return is_known ? observe_file(fs_, directory_, name, MarkBy::inode)
                        : std::optional(SeenFile{*listed, mark_of(*listed)});
    }

    [[nodiscard]] ObservedFile classify(const std::optional<SeenFile>& found, const std::string& name) const {
        if (!found) return ObservedFile::absent;
        if (!S_ISREG(found->status.st_mode)) return ObservedFile::foreign;
        if (found->mark == record_.original.mark) return ObservedFile::original;
        return is_ours(found->mark, name) ? ObservedFile::replacement : ObservedFile::foreign;
    }

    [[nodiscard]] ObservedFile classify_beside(const std::optional<SeenFile>& found,
                                               const std::string& name) const {
        return found && name_ && is_same_file(*found, name) ? ObservedFile::same_file : classify(found, name);
    }

    [[nodiscard]] bool is_ours(const FileMark& mark, const std::string& name) const {
        if (record_.phase != Phase::preparing) {
            auto expected = record_.replacement;
            // A time that was rounded since, or set by a server, makes nothing at our random name foreign.
            if (name == record_.temporary && mark.content != 0) expected.modified_ns = mark.modified_ns;
            return mark == expected;
        }
        // Still being written, so its size says nothing; and nobody has put it anywhere else yet.
        if (name != record_.temporary) return false;
        // The name is random, and was recorded before it was used: a number adds nothing to that.
        if (record_.marked_by() == MarkBy::content) return true;
        if (record_.replacement.inode != 0) return mark.inode == record_.replacement.inode;
        // Made, but the crash came before its inode was recorded: then it is empty.
        return mark.size_bytes == 0;
    }

    /// Hard links have one number, but not everywhere: then they have one size, time and content.
    [[nodiscard]] bool is_same_file(const SeenFile& beside, const std::string& name) const {
        const auto& archive = *name_;
        if (record_.marked_by() == MarkBy::inode && archive.status.st_ino == beside.status.st_ino)
            return true;
        const bool may_be = (archive.status.st_mode & S_IFMT) == (beside.status.st_mode & S_IFMT) &&
                            archive.mark.size_bytes == beside.mark.size_bytes &&
                            archive.mark.modified_ns == beside.mark.modified_ns;
        if (!may_be) return false;
        if (S_ISLNK(archive.status.st_mode))
            return fs_.read_link(directory_, record_.name) == fs_.read_link(directory_, name);
        if (!S_ISREG(archive.status.st_mode)) return false;
        const auto one = observe_file(fs_, directory_, record_.name, MarkBy::content);
        const auto other = observe_file(fs_, directory_, name, MarkBy::content);
        return one && other && one->mark == other->mark;
    }

    void keep_access_of(const SeenFile& original, const std::string& name) const {
        // What the replacement was given since counts.
        const bool is_newer = access_of(original.status) != record_.access;
        if (!is_newer || access_of(name_->status) != record_.access) return;
        const auto open = [&](const std::string& at) {
            return fs_.open_at(directory_, at, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
        };
        try {
            const auto replacement = open(record_.name);
            // Somebody may have put another file there since it was observed: a hard link to one that is none
            // of the directory's owner, even.
            if (mark_of(fs_, replacement, fs_.status(replacement), record_.marked_by()) != name_->mark)
                return;
            io::copy_access(fs_, open(name), replacement);
        } catch (const base::SystemError& error) {
            // It could be set when the replacement was sealed; what is refused now stays as it was then.
            if (!io::is_refusal(error.number())) throw;
        }
    }

    io::FileSystem& fs_;
    const io::File& directory_;
    const RecoveryRecord& record_;
    std::optional<SeenFile> name_, temporary_, old_;  ///< as observed last
};

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

/// Beside the archive, by either of the names that it may have there.
bool is_original_open_for_writing(io::FileSystem& fs, const io::File& directory,
                                  const RecoveryRecord& record) try {
    if (record.phase != Phase::publishing && record.phase != Phase::renaming) return false;
    for (const auto& name : {record.temporary, record.old}) {
        const auto status = fs.status_at(directory, name);
        if (!status || status->st_ino != record.original.mark.inode || !S_ISREG(status->st_mode)) continue;
        const auto file = fs.open_at(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
        if (is_open_for_writing(fs, file)) return true;
    }
    return false;
} catch (const base::SystemError& error) {
    if (error.number() != ENOENT) throw;
    return false;  // gone meanwhile
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

std::optional<SeenFile> observe_file(io::FileSystem& fs, const io::File& directory, const std::string& name,
                                     MarkBy by) {
    const auto found = fs.status_at(directory, name);
    if (!found) return std::nullopt;
    if (!S_ISREG(found->st_mode)) return SeenFile{*found, mark_of(*found)};
    try {
        const auto file = fs.open_at(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
        const auto status = fs.status(file);
        return SeenFile{status, mark_of(fs, file, status, by)};
    } catch (const base::SystemError& error) {
        // Removed in between; unless it is still listed: after a rename that failed half way on CIFS, a file
        // may be about to disappear and cannot be opened any more. Nothing is decided by such a file; it is
        // an error of the moment, unlike a file that is not there.
        if (error.number() != ENOENT) throw;
        if (!fs.status_at(directory, name)) return std::nullopt;
        throw base::SystemError(EBUSY, "open", directory.entry(name));
    }
}

FinishedReplacement finish_replacement(io::FileSystem& fs, const io::File& directory,
                                       const RecoveryRecord& record, Goal goal,
                                       const std::function<bool()>& has_writer) {
    Recovery recovery(fs, directory, record);
    for (int round = 0; round < kMaxRounds; ++round) {
        // First of all: nothing is removed because of a name that a power cut could still take back.
        io::sync_where_known(fs, directory);
        const auto state = recovery.observe();
        const bool is_beside =
            state.temporary == ObservedFile::original || state.old == ObservedFile::original;
        if (goal == Goal::remove_original && is_beside && has_writer()) {
            goal = Goal::restore_original;
            // Neither of them goes: somebody writes to one, and has put the other there.
            if (state.name == ObservedFile::foreign) return {state, recovery.warning(state, goal)};
        }
        if (goal != Goal::restore_original) recovery.keep_access(state);
        const auto step = decide(state, record.phase, goal);
        if (step == Step::none) return {state, recovery.warning(state, goal)};
        recovery.act(step);
    }
    recovery.refuse_unstable();
}

RecoveryResult recover(io::FileSystem& fs, const io::File& directory, const RecoveryRecord& record) {
    auto finished = finish_replacement(fs, directory, record, Goal::remove_original,
                                       [&] { return is_original_open_for_writing(fs, directory, record); });
    return {outcome_of(finished.state), std::move(finished.warning)};
}

}  // namespace vmad::publish
