#define DOCTEST_CONFIG_IMPLEMENT
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include <doctest/doctest.h>

namespace {

constexpr unsigned kNobody = 65534;

int run_tests(int argc, char** argv) { return doctest::Context(argc, argv).run(); }

/// In a process of its own, because there is no way back.
int run_tests_as_plain_user(int argc, char** argv) {
    const pid_t child = ::fork();
    if (child < 0) return EXIT_FAILURE;
    if (child == 0) {
        if (::setgid(kNobody) != 0 || ::setuid(kNobody) != 0) ::_exit(EXIT_FAILURE);
        std::exit(run_tests(argc, argv));
    }
    int status = 0;
    if (::waitpid(child, &status, 0) != child) return EXIT_FAILURE;
    return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
    const int as_plain_user = ::geteuid() == 0 ? run_tests_as_plain_user(argc, argv) : EXIT_SUCCESS;
    const int as_is = run_tests(argc, argv);
    return as_plain_user != EXIT_SUCCESS ? as_plain_user : as_is;
}
