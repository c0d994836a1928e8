#include "call_matrix.hpp"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <set>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include "base/error.hpp"

namespace vmad::fault {
namespace {

struct Cell {
    unsigned tried = 0;
    unsigned survived = 0;
};
std::map<std::string, std::map<std::string, Cell>> matrix;  ///< by method and error

std::string under_way;  ///< said when it does not end

using Errors = std::vector<int>;

const Errors kOpening{ENOENT, EACCES, EIO, EMFILE, ENFILE, ENOMEM, ESTALE, EROFS, EINTR, EINVAL, EOPNOTSUPP};
const Errors kCreating{ENOENT, EACCES, EIO,    EMFILE, ENFILE, ENOMEM,     ESTALE,
                       EROFS,  EINTR,  EINVAL, ENOSPC, EDQUOT, EOPNOTSUPP, EEXIST};
const Errors kLooking{EACCES, EIO, ENOMEM, ESTALE};
const Errors kNaming{EACCES, EPERM,  EIO,   EEXIST, ENOENT, ENOSPC,
                     EDQUOT, EMLINK, EROFS, ESTALE, EINVAL, EBUSY};
const Errors kAttributes{EACCES, EPERM, EIO, ENODATA, EOPNOTSUPP, ERANGE, E2BIG, ENOSPC, EDQUOT, ESTALE};
const Errors kHint{EIO, EINVAL, EOPNOTSUPP, ENOSPC};

/// By method of io::FileSystem, what its system calls may fail with.
const std::map<std::string, Errors>& fitting_errors() {
    static const std::map<std::string, Errors> errors{
        {"open", kOpening},
        {"open_at", kCreating},
        {"open_beneath", kOpening},
        {"open_in_root", kOpening},
        {"open_unnamed",
         {ENOENT, EACCES, EIO, EMFILE, ENOMEM, ESTALE, EROFS, EINTR, EISDIR, EOPNOTSUPP, ENOSPC, EDQUOT}},
        {"reopen_direct", {ENOENT, EACCES, EIO, EMFILE, ENOMEM, EINTR, EINVAL}},
        {"close", {EIO, ENOSPC, EDQUOT, EINTR}},
        {"read_at", {EIO, ESTALE, ENOMEM, EAGAIN, EINTR, EINVAL, ETIMEDOUT, EACCES, kShort}},
        {"write_at",
         {EIO, ENOSPC, EDQUOT, EFBIG, EROFS, ESTALE, EAGAIN, EINTR, EPERM, ENOMEM, kShort, kNothing}},
        {"copy_range", {EIO, ENOSPC, EDQUOT, EXDEV, EINVAL, EOPNOTSUPP, EINTR, ENOMEM, kShort, kNothing}},
        {"share_range", {EIO, EINVAL, EOPNOTSUPP, EPERM, EXDEV, ENOTTY, EINTR, ENOMEM}},
        {"extents", {EIO, EINVAL, EOPNOTSUPP, ENOTTY, ENOMEM}},
        {"truncate", {EIO, ENOSPC, EDQUOT, EFBIG, EPERM, EINVAL, EINTR, ESTALE}},
        {"sync", {EIO, ENOSPC, EDQUOT, EINVAL, EROFS, EINTR, ESTALE}},
        {"push_out", kHint},
        {"advise", kHint},
        {"seek", {ENXIO, EINVAL, EIO, ESTALE}},
        {"discard", kHint},
        {"status", kLooking},
        {"status_at", {ENOENT, EACCES, EIO, ENOMEM, ESTALE, ELOOP}},
        {"real_path", kLooking},
        {"read_link", {ENOENT, EINVAL, EACCES, EIO, ENOMEM, ESTALE}},
        {"space", {EACCES, EIO, ENOMEM, ENOSYS, EINTR, ESTALE}},
        {"type", {EACCES, EIO, ENOMEM, ENOSYS, EINTR, ESTALE}},
        {"inode_flags", {ENOTTY, EOPNOTSUPP, EIO}},
        {"entries", {EACCES, EIO, EMFILE, ENOENT, ENOMEM, ESTALE}},
        {"change_mode", {EPERM, EACCES, EIO, EROFS, EOPNOTSUPP, ESTALE}},
        {"change_owner", {EPERM, EACCES, EIO, EROFS, EINVAL, EDQUOT, ESTALE}},
        {"set_modified", {EPERM, EACCES, EIO, EROFS, ESTALE}},
        {"attribute_names", kAttributes},
        {"attribute", kAttributes},
        {"set_attribute", kAttributes},
        {"remove_attribute", kAttributes},
        {"link_unnamed", kNaming},
        {"link", kNaming},
        {"make_link", kNaming},
        {"rename", kNaming},
        {"exchange", {EACCES, EPERM, EIO, ENOENT, EINVAL, ENOSYS, EROFS, ESTALE, ENOSPC}},
        {"unlink", {EACCES, EPERM, EIO, ENOENT, EBUSY, EROFS, ESTALE}},
        {"make_directory", {EACCES, EIO, EEXIST, ENOENT, ENOSPC, EDQUOT, EMLINK, EROFS}},
        {"try_lease", {EAGAIN, EINVAL, EACCES, ENOLCK, ENOMEM}},
        {"is_lease_wanted", {EINVAL}},
        {"end_lease", {EAGAIN}},
        {"try_lock", {EWOULDBLOCK, ENOLCK, EINVAL, EINTR, EOPNOTSUPP}},
    };
    return errors;
}

std::string name_of(int error) {
    if (error == kShort) return "short";
    if (error == kNothing) return "nothing";
    return ::strerrorname_np(error);
}

/// What a call does that fails although it was done, as on a network; the others only look.
bool changes_something(const std::string& method) {
    static const std::set<std::string> methods{
        "write_at",     "truncate",      "sync",         "change_mode",   "change_owner",
        "set_modified", "set_attribute", "link_unnamed", "link",          "make_link",
        "rename",       "exchange",      "unlink",       "make_directory"};
    return methods.contains(method);
}

bool is_fitting(const Failure& failure) {
    if (failure.stays && failure.error == EINTR) return false;  // nobody would go on for ever
    return !failure.was_done || (failure.error > 0 && changes_something(failure.method));
}

unsigned stride() {
    constexpr unsigned kSampled = 47;
    const char* wanted = std::getenv("VMAD_FAULTS");
    if (wanted == nullptr) return kSampled;
    return std::string(wanted) == "all" ? 1 : static_cast<unsigned>(std::max(1, std::atoi(wanted)));
}

std::string describe(const Failure& failure) {
    return fmt::format("{} {}{}{}: {}", failure.method, failure.number,
                       failure.stays ? " and all after it" : "", failure.was_done ? " (was done)" : "",
                       name_of(failure.error));
}

/// "open /a: Input/output error", or "/a: it is no file: Is a directory", name what was done and with what; a
/// message of ours names at least a path.
bool is_clear(const std::string& error, const Failure& failure) {
    if (error.empty()) return true;
    const std::string why = std::strerror(failure.error);
    const auto at = error.find(": " + why);
    if (at == error.npos) return error.find('/') != error.npos && !error.ends_with(why);
    const auto path = error.rfind(" /", at);
    if (path == error.npos || path == 0) return false;
    const bool is_verb_before = std::islower(static_cast<unsigned char>(error[path - 1])) != 0;
    return is_verb_before || error.substr(path, at - path).find(": ") != error.npos;
}

/// False when it was not met: by a run that came to its end, or one that failed before, as after Ctrl-C.
bool try_failure(const std::function<std::unique_ptr<Stage>()>& make, const std::string& title,
                 const Failure& failure) {
    under_way = fmt::format("{}: {} does not come to an end\n", title, describe(failure));
    auto& cell = matrix[failure.method][name_of(failure.error)];
    constexpr unsigned kEndlessSeconds = 60;
    ::alarm(kEndlessSeconds);
    std::string error;
    bool was_hit = false;
    FailingFileSystem fs;
    try {
        const auto stage = make();
        fs.fail(failure);
        error = stage->run(fs);
        was_hit = fs.was_hit();
        if (!was_hit) return false;
        ++cell.tried;
        demand(is_clear(error, failure), "the message names no operation and path");
        fs.fail({});
        stage->check(error, failure);
        ++cell.survived;
    } catch (const std::exception& broken) {
        FAIL_CHECK(fmt::format("{}: {}\n    {}\n    its message: {}", title, describe(failure), broken.what(),
                               error));
    }
    return was_hit || fs.was_hit();
}

}  // namespace

void fail_every_call(const std::string& title, const std::function<std::unique_ptr<Stage>()>& make) {
    std::signal(SIGALRM, [](int) {
        (void)!::write(STDERR_FILENO, under_way.data(), under_way.size());
        std::abort();
    });
    const auto healthy = make();
    FailingFileSystem fs;
    const auto error = healthy->run(fs);
    const auto counts = fs.counts();
    healthy->check(error, {});
    REQUIRE(error.empty());
    const auto step = stride();
    unsigned next = 1;  // of all cases, counted from the one at hand
    unsigned met = 0;
    for (const auto& [method, errors] : fitting_errors()) {
        const auto count = counts.contains(method) ? counts.at(method) : 0;
        for (const int number : errors)
            for (const bool was_done : {false, true})
                for (const bool stays : {false, true}) {
                    Failure failure{method, number, next, was_done, stays};
                    if (count == 0 || !is_fitting(failure)) continue;
                    // In whole it is the run that says when there is no such call any more.
                    while ((step == 1 || failure.number <= count) && try_failure(make, title, failure)) {
                        failure.number += step;
                        ++met;
                    }
                    next = step == 1 ? 1 : failure.number - std::min(failure.number - 1, count);
                }
    }
    CHECK_MESSAGE(met > 0, "no call was met: is FileSystem still where calls go?");
}

std::string matrix_text() {
    constexpr std::size_t kWidth = 80;
    Cell all;
    std::string text =
        "system calls that failed, by method and error, and in how many cases every law held:\n";
    for (const auto& [method, cells] : matrix) {
        std::string line = fmt::format("{:<16}", method);
        for (const auto& [error, cell] : cells) {
            if (cell.tried == 0) continue;
            all.tried += cell.tried;
            all.survived += cell.survived;
            const auto part = cell.survived == cell.tried
                                  ? fmt::format(" {} {}", error, cell.tried)
                                  : fmt::format(" {} {} OF {}", error, cell.survived, cell.tried);
            if (line.size() + part.size() > kWidth) {
                text += line + "\n";
                line = std::string(16, ' ');
            }
            line += part;
        }
        text += line + "\n";
    }
    return text + fmt::format("{} tried, {} survived\n", all.tried, all.survived);
}

}  // namespace vmad::fault
