#include "guest/confinement.hpp"

#include <grp.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <ctime>
#include <fstream>
#include <memory>
#include <type_traits>

#include "base/error.hpp"

namespace vmad::guest {
namespace {

constexpr uid_t kNobody = 65534;
constexpr rlim_t kMaxMemoryBytes = rlim_t{2} << 30;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;  // that takes terabytes of memory, and calls of its own
#else
constexpr bool kSanitized = false;
#endif

/// What threads, memory, the C library and work on open descriptors need. Neither ioctl (of a terminal) nor
/// anything with a path but newfstatat, by which fstat() is done.
constexpr std::array kAllowed{
    SCMP_SYS(read),
    SCMP_SYS(pread64),
    SCMP_SYS(readv),
    SCMP_SYS(preadv),
    SCMP_SYS(write),
    SCMP_SYS(pwrite64),
    SCMP_SYS(writev),
    SCMP_SYS(pwritev),
    SCMP_SYS(lseek),
    SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(fstatfs),
    SCMP_SYS(ftruncate),
    SCMP_SYS(fcntl),
    SCMP_SYS(fadvise64),
    SCMP_SYS(close),
    SCMP_SYS(memfd_create),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(mmap),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(mprotect),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    SCMP_SYS(futex),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(membarrier),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(getrandom),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(uname),
};

void check(int negative_errno) {
    if (negative_errno >= 0) return;
    errno = -negative_errno;
    base::throw_errno("seccomp", "of the process that reads a guest's files");
}

void allow_only_what_is_needed() {
    struct Release {
        void operator()(scmp_filter_ctx filter) const noexcept { ::seccomp_release(filter); }
    };
    const std::unique_ptr<std::remove_pointer_t<scmp_filter_ctx>, Release> filter(
        ::seccomp_init(SCMP_ACT_ERRNO(EPERM)));
    if (!filter) throw base::Error("libseccomp could not be started");
    for (const int call : kAllowed) check(::seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, call, 0));
    // Threads, but no processes, which would outlive this one. The flags of clone3 cannot be seen; without
    // it, the C library takes clone.
    check(::seccomp_rule_add(filter.get(), SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0));
    check(::seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD)));
    check(::seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                             SCMP_A0(SCMP_CMP_EQ, static_cast<scmp_datum_t>(::getpid()))));
    check(::seccomp_load(filter.get()));  // sets no_new_privs, too
}

/// What of the limit is taken already, by the index of a large archive for example.
rlim_t data_bytes() {
    std::ifstream statm("/proc/self/statm");
    rlim_t pages = 0;
    for (int field = 0; field < 6; ++field) statm >> pages;  // the sixth: data and stack
    return statm ? pages * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE)) : 0;
}

void give_up_root() {
    if (::geteuid() != 0) return;
    if (::setgroups(0, nullptr) != 0 || ::setresgid(kNobody, kNobody, kNobody) != 0 ||
        ::setresuid(kNobody, kNobody, kNobody) != 0)
        base::throw_errno("setresuid", "nobody");
}

}  // namespace

void confine() {
    ::tzset();  // while its file can be read
    const auto most = data_bytes() + kMaxMemoryBytes;
    const rlimit memory{most, most};
    if (!kSanitized && ::setrlimit(RLIMIT_DATA, &memory) != 0) base::throw_errno("setrlimit", "memory");
    give_up_root();
    if (!kSanitized) allow_only_what_is_needed();
}

}  // namespace vmad::guest
