#define DOCTEST_CONFIG_IMPLEMENT
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include <doctest/doctest.h>

namespace {

constexpr unsigned kNobody = 65534;

int run_tests(int argc, char** argv) { return doctest::Context(argc, argv).run(); }

/// In a process of its own, because there is no way back.
pid_t start_as_unprivileged_user(int argc, char** argv) {
    const pid_t child = ::fork();
    if (child != 0) return child;
    if (::setgid(kNobody) != 0 || ::setuid(kNobody) != 0) ::_exit(EXIT_FAILURE);
    std::exit(run_tests(argc, argv));
}

int status_of(pid_t child) {
    int status = 0;
    if (child < 0 || ::waitpid(child, &status, 0) != child) return EXIT_FAILURE;
    return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
    if (::geteuid() != 0) return run_tests(argc, argv);
    const pid_t unprivileged = start_as_unprivileged_user(argc, argv);
    const int as_root = run_tests(argc, argv);
    const int as_unprivileged = status_of(unprivileged);
    return as_root != EXIT_SUCCESS ? as_root : as_unprivileged;
}
