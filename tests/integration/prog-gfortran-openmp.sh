#!/bin/bash
# A Fortran program with allocatable arrays in OpenMP threads.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

need gfortran
cat >work.f90 <<'F90'
program work
    use omp_lib
    implicit none
    integer, parameter :: n = 400, rounds = 200
    integer :: i, k
    integer(8) :: total, part
    character(len=:), allocatable :: text
    type cell
        integer(8), allocatable :: at(:)
    end type
    type(cell), allocatable :: cells(:)

    total = 0
    allocate (cells(n))
    !$omp parallel do schedule(dynamic) private(k, part) reduction(+:total)
    do i = 1, n
        part = 0
        do k = 1, rounds
            if (allocated(cells(i)%at)) deallocate (cells(i)%at)
            allocate (cells(i)%at(1 + mod(i * k * 37, 5000)))
            cells(i)%at = int(i, 8) * k
            cells(i)%at = [cells(i)%at, int(k, 8)]
            part = part + sum(cells(i)%at)
        end do
        total = total + part
    end do
    !$omp end parallel do
    print *, 'total', total
    text = ''
    do i = 1, 2000
        text = text//char(97 + mod(i, 26))
    end do
    print *, len(text), text(1:60)
    part = 0
    do i = 1, n
        part = part + size(cells(i)%at)
    end do
    print *, 'sizes', part
    deallocate (cells)
    print *, 'product', sum(matmul(reshape([(mod(i, 7), i=1, 90000)], [300, 300]), &
        reshape([(mod(i, 5), i=1, 90000)], [300, 300])))
end program
F90
gfortran -O1 -fopenmp work.f90 -o work || fail "gfortran cannot compile"
export OMP_NUM_THREADS=4
same_output -e openmp ./work
finish
